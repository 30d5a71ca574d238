"""Mathematics of displacement fields: warp, compose, Jacobian, smoothing, resampling."""
