"""Shapes of the events, records, reports and views that cross a border; they import nothing of ours."""
