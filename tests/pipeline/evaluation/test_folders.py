"""`swar evaluate`: a small model on made-up speakers, by the command and by its parts."""

import errno
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
import tensorflow as tf
from sklearn.metrics import roc_auc_score

from components.errors import SwarError
from components.model import base as base_model
from components.model.files import MODEL_CARD
from components.model.published import PublishedModel
from components.nonspeech import nonspeech
from components.pcm16 import pack_wav, to_pcm16
from components.recordings.sources import data_digest, list_recordings
from components.recordings.splitting import unseen_speakers
from components.terminal import Console
from components.verification import results
from components.verification.results import read_trials
from components.verification.slices import estimate_metrics
from components.verification.trials import clean
from pipeline.evaluation.display import render
from pipeline.evaluation.folders import evaluate
from pipeline.evaluation.listing import evaluate_list
from tests.bad_recordings import speech_like
from tests.pipeline.evaluation.support_evaluation import (
    RATE,
    SETTINGS,
    SPEAKERS,
    SPEECH,
    WINDOW,
    exit_status,
    write_list,
)


def selection_of(result, seconds):
    (found,) = (s for s in result.evaluation.selections if s.duration_seconds == seconds)
    return found


def test_trials_are_of_equal_durations_and_of_two_recordings(result):
    trials = clean(result.trials)
    assert set(trials["duration_seconds"]) == {WINDOW, 3.0}  # 0.5 s is no window
    same = trials["speaker_a"] == trials["speaker_b"]
    np.testing.assert_array_equal(trials["label"], same.astype(int))
    assert (trials["recording_a"] != trials["recording_b"])[same].all()
    # 3 pieces of 3 s in each of two recordings of five speakers.
    part = trials[trials["duration_seconds"] == 3.0]
    assert part["label"].value_counts().to_dict() == {1: 5 * 3 * 3, 0: 10 * 6 * 6}


def test_the_model_hears_what_is_wanted(result):
    for seconds in (WINDOW, 3.0):
        selection = selection_of(result, seconds)
        heard = selection.least_heard_seconds, selection.most_heard_seconds
        assert heard == pytest.approx((seconds, seconds), rel=0.02)


def test_a_duration_that_nobody_has_is_told(result):
    selection = selection_of(result, 100.0)
    assert (selection.utterances, selection.similar, selection.dissimilar) == (0, 0, 0)
    assert np.isnan(selection.least_heard_seconds)


def test_genders_and_channels_come_from_the_data(result):
    trials = result.trials
    sides = pd.concat(
        trials[[f"speaker_{side}", f"gender_{side}", f"channel_{side}"]].set_axis(
            ["speaker", "gender", "channel"], axis=1
        )
        for side in "ab"
    ).drop_duplicates()
    answer = {row.speaker: (row.gender, row.channel) for row in sides.itertuples()}
    assert answer == {
        "asha": ("female", "telephone"),
        "bina": ("female", "telephone"),
        "chandra": ("male", "telephone"),
        "dev": ("male", "telephone"),
        "esha": ("unknown", "wideband"),
    }
    mixed = trials[trials["channel_pair"] == "mixed"]
    assert ((mixed["speaker_a"] == "esha") != (mixed["speaker_b"] == "esha")).all()


def test_what_cannot_be_used_is_listed(result):
    answer = {(item.name, item.reason) for item in result.evaluation.rejected_recordings}
    assert answer == {("asha/silent.wav", "silent"), ("bina/broken.wav", "not_audio")}


def test_scores_are_the_models(made, result):
    """One trial, its pieces cut here: nothing of these recordings is silence."""
    row = result.trials[result.trials["duration_seconds"] == 3.0].iloc[7]
    wavs = []
    for side in "ab":
        samples, rate = soundfile.read(made.data / row[f"recording_{side}"], dtype="int16")
        assert rate == RATE
        start = round(row[f"start_seconds_{side}"] * RATE)
        wavs.append(tf.audio.encode_wav(samples[start : start + 3 * RATE, None] / 2**15, RATE))
    served = tf.saved_model.load(str(made.version)).signatures["serving_default"]
    answer = served(audio_a=tf.stack(wavs[:1]), audio_b=tf.stack(wavs[1:]))
    assert row["distance"] == pytest.approx(float(answer["distance"][0]), rel=0.02)
    assert row["same_speaker"] == bool(answer["same_speaker"][0])


def test_the_trials_of_one_duration_are_judged_under_conditions(result):
    rows = {(each.condition, each.changed_sides): each for each in result.evaluation.conditions}
    names = [("hum", "one"), ("hum", "both"), ("opus", "one"), ("opus", "both")]
    assert list(rows) == [("clean", "clean"), *names]
    whole = next(
        each
        for each in result.evaluation.slices
        if each.sliced_by == "all" and each.duration_seconds == 3.0
    )
    assert repr(rows["clean", "clean"].figures) == repr(whole.figures)  # a NaN equals no other
    for (condition, sides), row in rows.items():
        assert (row.duration_seconds, row.utterances, row.refused) == (3.0, 30, 0)
        assert (row.similar, row.dissimilar) == (45, 360)
        trials = result.trials[result.trials["duration_seconds"] == 3.0]
        trials = trials[trials["condition"] == condition]
        trials = trials[trials["changed_sides"] == sides]
        assert repr(row.figures) == repr(estimate_metrics(trials, resamples=20, seed=0))
    assert rows["hum", "both"].figures["eer"] != whole.figures["eer"]


def test_sounds_without_speech_are_counted(made, result):
    (found,) = result.evaluation.nonspeech
    served = PublishedModel(made.version)
    sounds = [
        pack_wav(to_pcm16(each.samples), RATE) for each in nonspeech(RATE, 3.0, SETTINGS.seed)
    ]
    answer = served.embed(sounds)
    taken = answer.embedding[[status == "ok" for status in answer.status]]
    assert (found.duration_seconds, found.sounds, found.taken) == (3.0, 20, len(taken))
    assert found.pairs == len(taken) * (len(taken) - 1) / 2
    assert found.pairs_with_speech == 30 * len(taken)
    first, second = np.triu_indices(len(taken), 1)
    *_, same = served.score(taken[first], taken[second])
    assert found.same_speaker_pairs == same.sum()


def test_conditions_are_chosen_by_name(made, tmp_path, monkeypatch, capfd):
    arguments = (made.model, "--data", made.data, "--duration", "3", "--json")
    for chosen, expected in (
        (["clean"], set()),
        (["clean", "quiet"], {"clean", "quiet"}),
    ):
        named = [part for name in chosen for part in ("--condition", name)]
        assert exit_status(monkeypatch, *arguments, *named) == 0
        answer = json.loads(capfd.readouterr().out)
        assert {each["condition"] for each in answer["conditions"]} == expected


def test_closed_set_identification_has_everybody(result):
    found = {each.enrolment_seconds: each for each in result.evaluation.identification}
    assert set(found) == {5.0, 10.0}  # nobody has 30 s
    # Enrolled with the first recording, asked with two utterances of 5 s of the second.
    assert (found[10.0].speakers, found[10.0].queries) == (5, 10)
    assert np.isnan(found[5.0].figures["top_5"].value)  # all are among five


def test_open_set_identification_has_galleries_that_leave_somebody_out(result):
    rows = result.evaluation.open_set
    answer = [(each.enrolment_seconds, each.reference, each.gallery_speakers) for each in rows]
    assert answer == [
        (seconds, reference, 2) for seconds in (5.0, 10.0) for reference in ("mean", "best_match")
    ]
    for each in rows:
        named = result.card["threshold"] - math.log(2) / result.card["slope"]
        assert each.rates["default"].threshold == pytest.approx(named)
        assert each.rates["fpir_0.05"].fpir.value <= 0.05
        assert each.missing == "no_operating_points"


def test_open_sets_have_a_table(result):
    console = Console(width=140)
    with console.capture() as shown:
        console.print(render(result.evaluation))
    assert "Open set: 5 s utterances in galleries of N speakers" in shown.get()
    rows = [line.split() for line in shown.get().splitlines() if " s, best " in line]
    assert [row[:4] for row in rows] == [[seconds, "s,", "best", "2"] for seconds in ("5", "10")]
    assert "5 % a query among 2 is 2.5 % a comparison: the model has no such" in shown.get()


def test_the_table_says_that_the_best_match_was_left_out(result):
    left_out = [each for each in result.evaluation.open_set if each.reference == "mean"]
    evaluation = replace(result.evaluation, open_set=tuple(left_out))
    console = Console(width=140)
    with console.capture() as shown:
        console.print(render(evaluation))
    for seconds in ("5 s", "10 s"):
        assert f"{seconds}, best match: not measured, takes more than 2,000,000" in shown.get()


def test_the_model_is_known_to_be_trained_on_this(made, result, tmp_path):
    assert result.evaluation.trained_on == ("voices",)
    copy = shutil.copytree(made.data, tmp_path / "copy")
    (copy / "dev" / "take1.wav").unlink()
    elsewhere = evaluate(made.model, [str(copy)], SETTINGS, Console(quiet=True), only_unseen=False)
    assert elsewhere.evaluation.trained_on == ()


def test_a_trial_list_on_the_training_data_is_known_too(made, tmp_path):
    listed = write_list(
        tmp_path, "1 asha/take0.wav asha/take1.wav", "0 asha/take0.wav dev/take1.wav"
    )
    copy = shutil.copytree(made.data, tmp_path / "copy")
    (copy / "dev" / "take0.wav").unlink()
    answer = [
        evaluate_list(made.model, str(data), listed, SETTINGS, Console(quiet=True)).evaluation
        for data in (made.data, copy)
    ]
    assert [each.trained_on for each in answer] == [("voices",), ()]


@pytest.mark.parametrize("by_list", [False, True])
def test_of_spans_the_training_took_some(made, tmp_path, by_list):
    """What the card says of them finds the data that the model was trained on."""
    for day in (1, 2):
        shutil.copytree(made.data, tmp_path / "spans" / f"2026-01-0{day}")
    for file in (tmp_path / "spans" / "2026-01-02").rglob("take?.wav"):
        samples, rate = soundfile.read(file)
        soundfile.write(file, samples[::-1], rate, "PCM_16")
    pattern = str(tmp_path / "spans" / "{YYYY}-{MM}-{DD}")
    newest = list_recordings(pattern, 1)
    model = shutil.copytree(made.version, tmp_path / "1")
    card = json.loads((model / MODEL_CARD).read_text())
    card["speech"]["rolling_spans"] = 1
    card["data_digest"] = data_digest(newest)
    (model / MODEL_CARD).write_text(json.dumps(card))
    quiet = Console(quiet=True)
    if by_list:
        one, *others = [each.recording for each in newest.recordings if "take" in each.recording]
        same = next(other for other in others if other.split("/")[-2] == one.split("/")[-2])
        other = next(other for other in others if other.split("/")[-2] != one.split("/")[-2])
        listed = write_list(tmp_path, f"1 {one} {same}", f"0 {one} {other}")
        found = evaluate_list(model, pattern, listed, SETTINGS, quiet)
    else:
        found = evaluate(model, [pattern], SETTINGS, quiet, only_unseen=False)
    assert found.evaluation.trained_on == ("{YYYY}-{MM}-{DD}",)


def test_only_speakers_that_training_held_out(made):
    found = evaluate(
        made.version, [str(made.data)], SETTINGS, Console(quiet=True), only_unseen=True
    )
    unseen = unseen_speakers(SPEAKERS, SPEECH)
    assert {*found.trials["speaker_a"], *found.trials["speaker_b"]} == unseen
    assert len(unseen) == 2
    assert found.evaluation.trained_on == ()


def test_a_model_that_held_nobody_out_is_told(made, tmp_path):
    model = shutil.copytree(made.version, tmp_path / "1")
    card = json.loads((model / MODEL_CARD).read_text())
    card["speech"]["unseen_speaker_fraction"] = 0.0
    (model / MODEL_CARD).write_text(json.dumps(card))
    with pytest.raises(SwarError, match="held no speaker out of its training"):
        evaluate(model, [str(made.data)], SETTINGS, Console(quiet=True), only_unseen=True)


def test_bounds_sample_and_say_so(made, result):
    bounded = replace(SETTINGS, utterances_per_speaker=4, trials_per_class=6)
    one, again = (
        evaluate(made.model, [str(made.data)], bounded, Console(quiet=True), only_unseen=False)
        for _ in range(2)
    )
    pd.testing.assert_frame_equal(one.trials, again.trials)
    selection = selection_of(one, 3.0)
    assert (selection.utterances, selection.utterances_possible) == (20, 30)
    assert (selection.similar, selection.dissimilar) == (6, 6)
    assert selection.dissimilar_possible == 10 * 4 * 4
    trials = [clean(each.trials) for each in (one, result)]
    of_3_s = [each[each["duration_seconds"] == 3.0] for each in trials]
    assert set(of_3_s[0]["utterance_a"]) < set(of_3_s[1]["utterance_a"])


def test_the_command_prints_and_stores_the_same(made, tmp_path, monkeypatch, capfd):
    output = tmp_path / "stored"
    options = ("--duration", "3", "--condition", "hum", "--output", output)
    arguments = (made.model, "--data", made.data, *options)
    assert exit_status(monkeypatch, *arguments, "--json") == 0
    printed = capfd.readouterr().out
    assert printed == (output / "metrics.json").read_text("utf-8")
    answer, trials = json.loads(printed), read_trials(output)
    assert sorted(path.name for path in output.iterdir()) == ["metrics.json", "scores.parquet"]
    (whole,) = (part for part in answer["slices"] if part["sliced_by"] == "all")
    assert (whole["similar"], whole["dissimilar"]) == (45, 360)
    hummed = trials[trials["condition"] == "hum"]
    assert hummed["changed_sides"].value_counts().to_dict() == {"one": 405, "both": 405}
    trials = clean(trials)
    accepted = trials["same_speaker"][trials["label"] == 0].mean()
    assert whole["figures"]["false_accept_rate"]["value"] == pytest.approx(accepted)
    assert whole["figures"]["auc"]["value"] == pytest.approx(
        roc_auc_score(trials["label"], -trials["distance"])
    )
    assert answer["settings"]["resamples"] == 1_000
    assert answer["model"]["folder"] == str(made.version)


def test_figures_are_printed_though_they_cannot_be_written(made, tmp_path, monkeypatch, capfd):
    def full(folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(results, "new_folder", full)
    options = ("--duration", "3", "--condition", "clean", "--output", tmp_path / "new")
    arguments = (made.model, "--data", made.data, *options)
    assert exit_status(monkeypatch, *arguments, "--json") == 2
    shown = capfd.readouterr()
    answer = json.loads(shown.out)
    assert answer["slices"]
    assert "new: No space left on device: choose another folder" in answer["error"]
    assert shown.err == ""
    assert exit_status(monkeypatch, *arguments) == 2
    shown = capfd.readouterr()
    assert "EER %" in shown.out
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize("order", ["{label} {one} {other}", "{one} {other} {label}"])
def test_a_trial_list_compares_whole_files(made, tmp_path, order):
    trials = [
        ("asha/take0.wav", "asha/take1.wav", 1),
        ("asha/take0.wav", "esha/take1.wav", 0),
        ("asha/silent.wav", "bina/take0.wav", 0),
    ]
    lines = [order.format(one=one, other=other, label=label) for one, other, label in trials]
    found = evaluate_list(
        made.model,
        str(made.data),
        write_list(tmp_path, *lines),
        SETTINGS,
        Console(quiet=True),
    )
    assert list(found.trials["label"]) == [1, 0]
    (selection,) = found.evaluation.selections
    assert (selection.dissimilar, selection.dissimilar_possible) == (1, 2)
    (unusable,) = found.evaluation.unusable_utterances
    assert (unusable.name, unusable.reason) == ("asha/silent.wav", "silent")
    served = PublishedModel(made.version)
    files = [(made.data / name).read_bytes() for name in ("asha/take0.wav", "asha/take1.wav")]
    distance, *_ = served.score(*np.split(served.embed(files).embedding, 2))
    assert found.trials["distance"][0] == pytest.approx(distance[0], rel=0.02)


def test_a_trial_list_may_name_files_in_other_ways(made, tmp_path, capsys):
    data = shutil.copytree(made.data, tmp_path / "data")
    apart, composed = "Jose\u0301/e\u0301.wav", "Jos\u00e9/\u00e9.wav"
    (data / apart).parent.mkdir()
    shutil.move(data / "dev/take1.wav", data / apart)
    lines = [
        "1 asha/take0.wav ./asha/take1.wav",
        f"1 {data}/asha/take0.wav asha/../asha//take1.wav \t",
        "1 asha/take1.wav asha/take0.wav",
        f"0 asha/take0.wav {composed}",
        f"0 asha/take1.wav {apart}",
        "0 asha/take0.wav nobody/gone.wav",
        "0 bina/take0.wav nobody/gone.wav",
        "1 bina/take0.wav bina/notes.txt",
    ]
    (data / "bina/notes.txt").touch()
    evaluated = evaluate_list(
        made.model, str(data), write_list(tmp_path, *lines), SETTINGS, Console()
    )
    pairs = evaluated.trials[["recording_a", "recording_b"]].to_numpy().tolist()
    assert pairs == [["asha/take0.wav", "asha/take1.wav"]] + [
        [f"asha/take{take}.wav", apart] for take in (0, 1)
    ]
    (selection,) = evaluated.evaluation.selections
    assert (selection.similar, selection.similar_possible) == (1, 2)
    assert (selection.dissimilar, selection.dissimilar_possible) == (2, 4)
    assert [(each.name, each.reason) for each in evaluated.evaluation.rejected_recordings] == [
        ("nobody/gone.wav", "missing"),
        ("bina/notes.txt", "companion"),
    ]
    assert "trials.txt: 2 of its trials are there again: left out" in capsys.readouterr().out


def test_a_trial_list_does_not_name_a_cut_by_its_file(made, tmp_path):
    manifest = tmp_path / "m.csv"
    file = made.data / "asha/take0.wav"
    rows = [f"{file},asha,0,5", f"{file},asha,5,10", f"{made.data}/dev/take0.wav,dev,,"]
    manifest.write_text("\n".join(["path,speaker,start_seconds,end_seconds", *rows]))
    listed = write_list(
        tmp_path, f"0 {file}#0-5 {made.data}/dev/take0.wav", f"1 {file} {file}#5-10"
    )
    quiet = Console(quiet=True)
    evaluation = evaluate_list(made.model, str(manifest), listed, SETTINGS, quiet).evaluation
    (unused,) = evaluation.rejected_recordings
    assert (unused.name, unused.reason) == (str(file), "missing")


def test_the_base_model_is_evaluated_by_its_name(made, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(base_model, "base_model_folder", lambda: made.version)
    listed = write_list(
        tmp_path, "1 asha/take0.wav asha/take1.wav", "0 asha/take0.wav dev/take1.wav"
    )
    arguments = ("--data", made.data, "--trials", listed, "--json")
    assert exit_status(monkeypatch, "base", *arguments) == 0
    base = json.loads(capfd.readouterr().out)
    assert exit_status(monkeypatch, made.version, *arguments) == 0
    assert base["slices"] == json.loads(capfd.readouterr().out)["slices"]


def test_tables_for_people(made, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("COLUMNS", "120")
    lines = ("1 asha/take0.wav asha/take1.wav", "0 bina/broken.wav dev/take1.wav")
    listed = write_list(tmp_path, *lines, "0 asha/take0.wav dev/take1.wav")
    data = tmp_path / "voices [bold]"  # which is no style
    data.symlink_to(made.data)
    assert exit_status(monkeypatch, made.model, "--data", data, "--trials", listed) == 0
    shown = capfd.readouterr().out
    answer = ("voices [bold]", "whole files", "EER %", "1 / 1", "1 not_audio", "bina/broken.wav")
    for text in answer:
        assert text in shown
    assert "3 of 4 utterances" in shown
    assert "1 of 2 different-speaker trials" in shown


def test_conditions_have_a_table(made, monkeypatch, capfd):
    monkeypatch.setenv("COLUMNS", "120")
    options = ("--duration", "3", "--condition", "hum")
    assert exit_status(monkeypatch, made.model, "--data", made.data, *options) == 0
    shown = capfd.readouterr().out
    assert "The same trials of 3 s under conditions" in shown
    rows = [line for line in shown.splitlines() if "0 of 30" in line]
    assert [line.split()[0] for line in rows] == ["clean", "hum", "hum"]
    assert "taken as speech" in shown and " of 20 " in shown


def test_conditions_without_trials_of_their_duration_are_told(made):
    settings = replace(SETTINGS, condition_seconds=100.0)  # nobody has as much
    quiet = Console(quiet=True)
    found = evaluate(made.model, [str(made.data)], settings, quiet, only_unseen=False)
    assert found.evaluation.conditions == ()
    console = Console(width=120)
    with console.capture() as shown:
        console.print(render(found.evaluation))
    assert "no conditions, since there are no trials of about 100 s" in shown.get()


def test_single_words_are_repeated_to_a_window_and_that_is_told(made, tmp_path):
    for number, speaker in enumerate(("asha", "bina")):
        (tmp_path / "words" / speaker).mkdir(parents=True)
        for word in range(3):
            samples = speech_like(10 * number + word, RATE, 0.5)
            soundfile.write(tmp_path / "words" / speaker / f"{word}.wav", samples, RATE)
    # bina has a longer recording: her words are too short, as in training.
    longer = speech_like(40, RATE, 2.0)
    for take in range(2):
        soundfile.write(tmp_path / "words" / "bina" / f"long {take}.wav", longer[take:], RATE)
    data, settings = [str(tmp_path / "words")], replace(SETTINGS, conditions=())
    quiet = Console(quiet=True)
    found = evaluate(made.model, data, settings, quiet, only_unseen=False)
    evaluation = found.evaluation
    assert evaluation.repeated_recordings == 3
    assert {each.name for each in evaluation.rejected_recordings} == {
        f"bina/{word}.wav" for word in range(3)
    }
    used = found.judgement.embedded.utterances
    assert set(used[used["speaker"] == "asha"]["duration_seconds"]) == {WINDOW}
    console = Console(width=120)
    with console.capture() as shown:
        console.print(render(evaluation))
    assert "3 recordings have less speech than the model's window" in shown.get()


def test_words_are_not_repeated_to_more_than_a_window(made, tmp_path, monkeypatch, capfd):
    for number, speaker in enumerate(("asha", "bina")):
        (tmp_path / "words" / speaker).mkdir(parents=True)
        samples = speech_like(number, RATE, 0.5)
        soundfile.write(tmp_path / "words" / speaker / "1.wav", samples, RATE)
    options = ("--data", tmp_path / "words", "--duration", "2")
    assert exit_status(monkeypatch, made.model, *options) == 2
    assert "for an utterance of 2 s" in capfd.readouterr().err
