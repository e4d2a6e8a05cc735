"""Data: the input of each network, how a crop becomes a JPEG, random crops, and the store of decoded images."""
