"""What a plan is, and what a candidate for it costs. Who decides are the planners."""
