"""DenseNet with fused batch normalisation, its layers named as keras.applications names them."""

from collections.abc import Sequence

import keras
import tensorflow as tf

EPSILON = 1.001e-5
GROWTH = 32
STEM_CHANNELS = 64
# Share of its input channels that a transition keeps.
REDUCTION = 0.5


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer over the channels of an image, as one operation instead of some twenty.

    Inputs and outputs have the layer's compute dtype, float16 included; statistics, scale and
    offset are float32. It keeps Keras' name, by which weight files are laid out.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Normalises inputs [N, height, width, channels]."""
        if not (training and self.trainable):
            return self._fused(inputs, self.moving_mean, self.moving_variance, training=False)[0]
        # The operation returns the unbiased variance, Keras averages the biased one.
        bias = _variance_bias(inputs)
        outputs, mean, variance = self._fused(
            inputs, self.moving_mean, self.moving_variance / bias, training=True
        )
        self.moving_mean.assign(mean)
        self.moving_variance.assign(variance * bias)
        return outputs

    def _fused(
        self, inputs: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor, *, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Outputs, and in training the moving mean and variance after this batch."""
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma,
            offset=self.beta,
            mean=mean,
            variance=variance,
            epsilon=self.epsilon,
            exponential_avg_factor=1.0 - self.momentum,
            is_training=training,
        )
        return outputs, mean, variance


def _variance_bias(inputs: tf.Tensor) -> float | tf.Tensor:
    """(n - 1) / n of the n values of each channel; 1 for a single value."""
    if inputs.shape.is_fully_defined():
        values = inputs.shape.num_elements() // inputs.shape[-1]
        return max(values - 1, 1) / values
    values = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
    return tf.maximum(values - 1.0, 1.0) / values


def densenet(
    blocks: Sequence[int], shape: tuple[int, int | None, int], batch_norm_momentum: float
) -> keras.Model:
    """DenseNet, random weights, no classifier; blocks (6, 12, 24, 16) make DenseNet121.

    Source: Huang et al., "Densely Connected Convolutional Networks", CVPR 2017.

    Args:
        blocks: layers of each dense block.
        shape: height, width and channels of an image; the width may be None.
        batch_norm_momentum: of the moving statistics that inference uses.

    Returns:
        A model from [N, height, width, channels] to [N, height / 32, width / 32, features], with
        four blocks.
    """

    def normalised(x: keras.KerasTensor, name: str, relu: str) -> keras.KerasTensor:
        layer = BatchNormalization(momentum=batch_norm_momentum, epsilon=EPSILON, name=name)
        return keras.layers.Activation("relu", name=relu)(layer(x))

    def convolved(
        x: keras.KerasTensor, channels: int, size: int, name: str, **how: str | int
    ) -> keras.KerasTensor:
        return keras.layers.Conv2D(channels, size, use_bias=False, name=name, **how)(x)

    def dense_layer(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        new = normalised(x, f"{name}_0_bn", f"{name}_0_relu")
        new = convolved(new, 4 * GROWTH, 1, f"{name}_1_conv")
        new = normalised(new, f"{name}_1_bn", f"{name}_1_relu")
        new = convolved(new, GROWTH, 3, f"{name}_2_conv", padding="same")
        return keras.layers.Concatenate(name=f"{name}_concat")([x, new])

    def transition(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        x = normalised(x, f"{name}_bn", f"{name}_relu")
        x = convolved(x, int(x.shape[-1] * REDUCTION), 1, f"{name}_conv")
        return keras.layers.AveragePooling2D(2, strides=2, name=f"{name}_pool")(x)

    image = keras.Input(shape)
    x = keras.layers.ZeroPadding2D(3)(image)
    x = convolved(x, STEM_CHANNELS, 7, "conv1_conv", strides=2)
    x = normalised(x, "conv1_bn", "conv1_relu")
    x = keras.layers.ZeroPadding2D(1)(x)
    x = keras.layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    for number, layers in enumerate(blocks, start=2):
        if number > 2:
            x = transition(x, f"pool{number - 1}")
        for layer in range(1, layers + 1):
            x = dense_layer(x, f"conv{number}_block{layer}")
    return keras.Model(image, normalised(x, "bn", "relu"), name="densenet")
