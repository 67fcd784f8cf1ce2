"""Makes a Gradio page record the microphone's unprocessed sound.

By default a browser removes echo and noise and levels the voice, unlike in training. The page has
to request unprocessed sound, for which Gradio 6.31 has no option.

Needed until `gradio.Audio` takes the constraints of `getUserMedia`. Then this module can go.
"""

from typing import Final

RAW_MICROPHONE: Final = """
(() => {
  const devices = navigator.mediaDevices;
  if (!devices) return;
  const ask = devices.getUserMedia.bind(devices);
  const raw = {echoCancellation: false, noiseSuppression: false, autoGainControl: false};
  devices.getUserMedia = (wanted) => {
    if (!wanted || !wanted.audio) return ask(wanted);
    const audio = wanted.audio === true ? {} : wanted.audio;
    return ask({...wanted, audio: {...audio, ...raw}});
  };
})();
"""
"""A script for the page's head."""
