"""How the page looks. It uses the theme's colours, so the dark theme works too."""

from typing import Final

CSS: Final = """
:root { --swar-quiet: #52525b; }
.dark { --swar-quiet: #a1a1aa; }
.gradio-container { max-width: 980px !important; margin: 0 auto !important; }
.gradio-container, .gradio-container > .main {
  min-width: 0 !important; width: 100% !important; box-sizing: border-box;
}
.gradio-container :focus-visible {
  outline: 2px solid var(--color-accent) !important; outline-offset: 2px;
}
.html-container { padding: 0 !important; }
.swar-spectrogram { margin: 0 0 4px; }
.swar-spectrogram img { display: block; width: 100%; height: 110px; border-radius: 6px; }
.swar-spectrogram figcaption {
  display: flex; justify-content: space-between; gap: 8px;
  font-size: 0.8rem; color: var(--swar-quiet); padding-top: 2px;
}
.swar-recording .record {
  font-size: 1.1rem; font-weight: 600; padding: 10px 18px; height: auto;
  color: #fff; background: var(--button-primary-background-fill); border-color: transparent;
}
.swar-recording .record::before { background: #fff !important; }
.swar-recording .or { color: var(--swar-quiet) !important; }
@media (max-width: 480px) {
  .tab-container button { padding: 0 9px !important; }
  .swar-card { padding: 10px; }
  .swar-card th, .swar-card td { font-size: 0.75rem; padding-right: 4px; }
  .swar-card th:has(+ th:last-child):nth-child(3), .swar-card td:has(+ td.swar-bar) {
    display: none;
  }
}
.swar-level { padding: 8px 4px 0; }
.swar-level p { margin: 4px 0 0; font-size: 0.95rem; }
.swar-level-track {
  height: 10px; border-radius: 5px; background: var(--border-color-primary); overflow: hidden;
}
.swar-level-track i {
  display: block; height: 100%; width: 0; background: var(--color-accent);
  transition: width 0.1s linear;
}
.swar-no-microphone .swar-recording .component-wrapper::after {
  content: "Browsers give the microphone to pages on localhost or over HTTPS only: upload a file.";
  display: block; padding: 8px 4px 0;
}
.swar-no-microphone .swar-recording .controls { display: none; }
.swar-look { min-height: 3em; }  /* the page must not move when it comes */
.swar-quality { margin: 0 0 4px; font-size: 0.85rem; }
.swar-warnings { margin: 8px 0 0; padding: 8px 12px 8px 30px; border-radius: 6px; }
.swar-warnings { color: #713f12; background: #fef9c3; list-style: "⚠ "; }
.swar-card {
  border: 1px solid var(--border-color-primary); border-left: 6px solid var(--swar-tone);
  border-radius: 8px; padding: 14px 16px; background: var(--background-fill-secondary);
}
.swar-card h2 { margin: 0 0 4px; font-size: 1.25rem; overflow-wrap: anywhere; }
.swar-card p { margin: 4px 0; overflow-wrap: anywhere; }
.swar-same { --swar-tone: #15803d; }
.swar-different { --swar-tone: #c2410c; }
.swar-inconclusive { --swar-tone: #a16207; }
.swar-error { --swar-tone: #b91c1c; }
.swar-plain { --swar-tone: #6b7280; }
.swar-gauge { margin: 14px 0 6px; }
.swar-track {
  position: relative; height: 18px; border-radius: 9px;
  background: linear-gradient(90deg, #c2410c55 50%, #15803d55 50%);
}
.swar-track i {
  position: absolute; top: -5px; bottom: -5px; width: 2px; left: 50%;
  background: var(--body-text-color-subdued);
}
.swar-track b {
  position: absolute; top: -2px; width: 22px; height: 22px; margin-left: -11px;
  border-radius: 50%; background: var(--swar-tone); border: 3px solid var(--body-background-fill);
  box-shadow: 0 0 0 1px var(--swar-tone);
}
.swar-scale {
  display: grid; grid-template-columns: 1fr 1fr 1fr; padding-top: 6px;
  font-size: 0.8rem; color: var(--swar-quiet);
}
.swar-scale span:nth-child(2) { text-align: center; }
.swar-scale span:nth-child(3) { text-align: right; }
.swar-card table { width: 100%; border: 0; border-collapse: collapse; margin: 10px 0 0; }
.swar-card thead, .swar-card tbody, .swar-card tr { border: 0; }
.swar-card th, .swar-card td {
  text-align: left; padding: 6px 8px 6px 0; overflow-wrap: normal;
  border: 0; border-bottom: 1px solid var(--border-color-primary);
  font-variant-numeric: tabular-nums;
}
.swar-card td:first-child { overflow-wrap: anywhere; min-width: 4.5em; }
.swar-card th { font-weight: 600; font-size: 0.75rem; color: var(--swar-quiet); }
.swar-card td.swar-bar { width: 30%; }
.swar-card td.swar-bar .swar-track { height: 8px; }
.swar-card td.swar-bar .swar-track i { top: -3px; bottom: -3px; }
.swar-card td.swar-bar .swar-track b {
  top: -3px; width: 14px; height: 14px; margin-left: -7px; border-width: 2px;
}
.swar-card tr.swar-same td:first-child { font-weight: 600; }
.swar-footer { font-size: 0.85rem; color: var(--swar-quiet); padding: 12px 0; }
.swar-sign-out button { text-decoration: underline; cursor: pointer; }
"""
