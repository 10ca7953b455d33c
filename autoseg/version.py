"""The version of this software, in one place."""

VERSION = "0.2.0"
