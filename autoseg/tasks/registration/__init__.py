"""Laying images on each other: grids and transforms in world coordinates, similarities, and the methods that fit."""
