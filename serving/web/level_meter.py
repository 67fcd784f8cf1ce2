"""Shows how loud the microphone is, and about how much speech it has recorded so far.

Gradio's recorder shows only the time. A script of the page listens to the recorder's stream; it
neither changes nor sends it.
"""

from typing import Final

from serving.recognition import MIN_ENROLMENT_SECONDS

# A tenth of a second counts as speech if it is well above the quietest ones, or near the loudest.
# This is a rough count for the speaker; the model counts the usable speech in the recording.
LEVEL_METER: Final = """
(() => {
  const devices = navigator.mediaDevices;
  if (!devices) return;
  const wanted = SECONDS, quietest = -60, step = 0.1;
  let recorder = null;
  document.addEventListener("click", (event) => {
    const button = event.target.closest && event.target.closest(".swar-recording .record");
    if (button) recorder = button.closest(".swar-recording").querySelector(".component-wrapper");
  }, true);

  const ask = devices.getUserMedia.bind(devices);
  devices.getUserMedia = async (constraints) => {
    const stream = await ask(constraints);
    if (recorder && stream.getAudioTracks().length) meter(stream, recorder);
    return stream;
  };

  const element = (kind, name, parent) => {
    const made = document.createElement(kind);
    made.className = name;
    return parent.appendChild(made);
  };

  const meter = (stream, place) => {
    place.querySelectorAll(".swar-level").forEach((old) => old.remove());
    const shown = element("div", "swar-level", place);
    const bar = element("i", "", element("div", "swar-level-track", shown));
    const advice = element("p", "", shown);
    advice.setAttribute("role", "status");
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    analyser.fftSize = 4096;
    context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize), levels = [];
    const timer = setInterval(() => {
      if (stream.getAudioTracks().every((track) => track.readyState === "ended")) {
        clearInterval(timer);
        context.close();
        shown.remove();
        return;
      }
      const resume = place.querySelector(".resume-button");
      if (resume && resume.offsetParent) return;
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      const peak = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
      const level = Math.max(quietest, 10 * Math.log10(power + 1e-12));
      levels.push(level);
      bar.style.width = `${100 * (1 - level / quietest)}%`;
      const ordered = [...levels].sort((a, b) => a - b);
      const floor = ordered[Math.floor(ordered.length / 10)];
      const loudest = ordered[ordered.length - 1];
      const bound = Math.max(-50, Math.min(floor + 10, loudest - 12));
      const speech = step * levels.filter((each) => each > bound).length;
      let text = `Speak for ${wanted} seconds: about ${Math.floor(speech)} so far`;
      if (speech >= wanted) text = `About ${Math.floor(speech)} s of speech: enough`;
      if (levels.length > 20 && loudest < -45) text = "Very quiet: come closer to the microphone";
      if (peak > 0.98) text = "Too loud: move away from the microphone";
      if (advice.textContent !== text) advice.textContent = text;
    }, 1000 * step);
  };
})();
""".replace("SECONDS", f"{MIN_ENROLMENT_SECONDS:g}")
"""A script for the page's head, after the one that requests the raw microphone."""

NO_MICROPHONE: Final = """
document.addEventListener("DOMContentLoaded", () => {
  if (!navigator.mediaDevices) document.documentElement.classList.add("swar-no-microphone");
});
"""
"""A script for the page's head: over plain HTTP, browsers give pages no microphone."""
