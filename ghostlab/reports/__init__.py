"""What the runs on disk say, with how much certainty: as text, tables, pictures and a page."""
