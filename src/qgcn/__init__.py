"""The library's face, brought in piece by piece when it is asked for: importing it is cheap."""
