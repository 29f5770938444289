"""A run as a folder for the Hugging Face hub: its network in timm's format, and a card made of what was measured."""

from ghostlab.publish.folder import Evidence, publish

__all__ = ["Evidence", "publish"]
