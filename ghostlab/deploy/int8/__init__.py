"""Int8 after training: calibrated on training images, with what it costs layer by layer."""
