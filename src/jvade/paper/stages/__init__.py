"""The stages of the study, a file each or two that belong together."""
