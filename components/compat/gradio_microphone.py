"""What the microphone gives, in a page of Gradio.

By itself a browser takes out echo and noise and levels the voice, unlike in training. The page has
to ask for the sound as it is, and Gradio 6.31 has no option for that.

Until `gradio.Audio` takes the constraints of `getUserMedia`. Then this module goes.
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
