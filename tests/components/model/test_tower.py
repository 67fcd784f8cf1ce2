"""Pooling over time, against NumPy."""

import numpy as np

from components.model.tower import StatisticsPooling


def test_statistics_are_the_mean_and_the_deviation_over_time_of_the_mean_over_frequency():
    features = np.random.default_rng(0).normal(3.0, 2.0, (4, 3, 7, 5)).astype(np.float32)
    features[0] = 1.5  # no deviation
    pooled = StatisticsPooling()(features).numpy()
    assert pooled.shape == (4, 10) and pooled.dtype == np.float32
    over_frequency = features.astype(np.float64).mean(axis=1)
    np.testing.assert_allclose(pooled[:, :5], over_frequency.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(pooled[1:, 5:], over_frequency.std(axis=1)[1:], rtol=1e-4)
    np.testing.assert_allclose(pooled[0, 5:], 0.0, atol=1e-3)
