"""What each network is benched on: shape (C, H, W) and number of classes, where they are not 3x32x32 and 10."""

SAMPLES = {"cnn": ((1, 28, 28), 10), "cnn1d": ((6, 1, 128), 6), "ds_cnn": ((1, 49, 10), 12)}
SAMPLE = ((3, 32, 32), 10)
