"""What is to run: the spec, its request and its secrets; labels; what an answer to a paying call means; states."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from vastnb import errors
from vastnb.services.instances.buying import outcome_of
from vastnb.services.instances.labels import Label, new_token, read_label, write_label
from vastnb.services.instances.spec import LaunchSpec, Volume, spec_of
from vastnb.services.instances.states import phase_of, verdict
from vastnb.vast.types.records import InstanceRecord

# --- the spec -------------------------------------------------------------------------------------------------------


def test_the_request_is_what_the_documentation_names() -> None:
    spec = spec_of(
        image="pytorch/pytorch:2.6.0", disk_gb=50, bid_usd_per_hour=0.3, env={"MODE": "train", "HF_TOKEN": "hf_1"}, ports=[8080, "53/udp"],
        onstart="echo hi", volume=Volume(volume_id=5, mount="/data"),
    )  # fmt: skip

    assert spec.body(label="l", onstart=spec.onstart) == {
        "client_id": "me", "image": "pytorch/pytorch:2.6.0", "price": 0.3, "disk": 50, "label": "l", "onstart": "echo hi",
        "env": {"MODE": "train", "HF_TOKEN": "hf_1", "-p 8080:8080": "1", "-p 53:53/udp": "1"},
        "runtype": "ssh_direct", "use_jupyter_lab": False, "cancel_unavail": True, "target_state": "running",
        "volume_info": {"mount_path": "/data", "create_new": False, "volume_id": 5},
    }  # fmt: skip


def test_secrets_are_in_the_request_and_nowhere_else() -> None:
    spec = spec_of(
        env={
            "HF_TOKEN": "hf_secret",
            "WANDB_API_KEY": "wb_secret",
            "PLAIN": SecretStr("marked_secret"),
            "MODE": "train",
        }
    )
    body = spec.body(label="", onstart="")

    assert {"hf_secret", "wb_secret", "marked_secret"} <= set(body["env"].values())
    shown = " ".join(map(str, (repr(spec), spec.shown(), spec.redacted(body), spec)))
    assert "secret" not in shown.replace("secrets", "")
    assert spec.shown()["env"] == {"HF_TOKEN": "***", "WANDB_API_KEY": "***", "PLAIN": "***", "MODE": "train"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"image": "pytorch"}, "tag"),
        ({"image": "a b:1"}, "blanks"),
        ({"disk_gb": 4}, "greater than or equal to 8"),
        ({"disk_gb": float("nan")}, "disk_gb"),
        ({"env": {"1X": "y"}}, "1X"),
        ({"env": {"X": "a\0b"}}, "zero"),
        ({"ports": ["99999"]}, "99999"),
        ({"ports": "no"}, "no"),
        ({"args": ["x"]}, "runtype"),
        ({"runtype": "args", "onstart": "x"}, "onstart"),
        ({"bid_usd_per_hour": 0}, "0.001"),
        ({"label": "x" * 121}, "120"),
        ({"runtype": "vm"}, "runtype"),
        ({"volume": {"volume_id": 1, "mount": "data"}}, "absolute"),
        ({"imgae": "a:1"}, "imgae"),
    ],
)
def test_what_cannot_be_right_is_an_error_that_names_it(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(errors.InputError, match=said):
        spec_of(**wrong)


def test_an_error_does_not_show_a_secret() -> None:
    with pytest.raises(errors.InputError) as caught:
        spec_of(env={"HF_TOKEN": "hf_secret\0"})

    assert "hf_secret" not in str(caught.value)


def test_the_default_image_is_the_documented_one() -> None:
    assert LaunchSpec().body(label="", onstart="")["image"] == "vastai/base-image:@vastai-automatic-tag"
    assert "image" not in spec_of(template="abc").body(label="", onstart="")


# --- labels ---------------------------------------------------------------------------------------------------------

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}", fullmatch=True)


@given(name=st.just("") | names, until=st.none() | st.integers(1, 4_000_000_000), text=st.text(max_size=100))
def test_a_label_comes_back_as_it_was_written(name: str, until: int | None, text: str) -> None:
    label = Label(new_token(), name, until, text)

    read = read_label(write_label(label))

    assert read is not None
    assert read[:1] == label[:1]
    if not text.startswith(("name=", "until=")):
        assert read == label


@pytest.mark.parametrize(
    "text", [None, "", "my machine", "vnb-", "vnb-0123", "VNB-0123456789abcdef", "x vnb-0123456789abcdef"]
)
def test_another_label_is_not_ours(text: str | None) -> None:
    assert read_label(text) is None


def test_no_two_tokens_are_the_same() -> None:
    assert len({new_token() for _ in range(10_000)}) == 10_000


# --- what an answer to a paying call means ------------------------------------------------------------------------------


def api(kind: type[errors.ApiError], status: int | None, **told: Any) -> errors.ApiError:
    return kind("no", status=status, told=told or None)


@pytest.mark.parametrize(
    ("answer", "error", "kind"),
    [
        ({"success": True, "new_contract": 7}, None, "made"),
        ({"success": True, "new_contract": "7"}, None, "unknown"),
        ({"success": True, "new_contract": True}, None, "unknown"),
        ({"success": 1, "new_contract": 7}, None, "unknown"),
        ({"new_contract": 7}, None, "unknown"),
        ([], None, "unknown"),
        (None, api(errors.InvalidRequestError, 200, success=False, msg="no"), "refused"),
        (None, api(errors.OfferGoneError, 404, success=False, error="no_such_ask"), "refused"),
        (None, api(errors.OfferGoneError, 410, error="x"), "refused"),
        (None, api(errors.AuthError, 401, msg="key"), "refused"),
        (None, api(errors.NotFoundError, 404), "unknown"),
        (None, api(errors.ServerError, 500, success=False, msg="x"), "unknown"),
        (None, api(errors.ServerError, 502), "unknown"),
        (None, api(errors.RateLimitError, 429, msg="early"), "busy"),
        (None, errors.RateLimitError("our own pacing"), "unsent"),
        (None, errors.NetworkError("refused", unsent=True), "unsent"),
        (None, errors.NetworkError("cut"), "unknown"),
        (None, errors.AnswerTimeoutError("late"), "unknown"),
        (None, errors.AnswerTimeoutError("no connection", unsent=True), "unsent"),
        (None, errors.ResponseError("garbage"), "unknown"),
        (None, errors.AuthError("no key here"), "unsent"),
    ],
)
def test_only_a_clear_yes_is_a_yes_and_only_a_clear_no_is_a_no(answer: Any, error: Any, kind: str) -> None:
    assert outcome_of(answer, error).kind == kind


def test_a_refusal_may_have_left_a_machine_behind() -> None:
    told = outcome_of(None, api(errors.InvalidRequestError, 200, success=False, new_contract=9, msg="bid too low"))

    assert (told.kind, told.instance_id) == ("refused", 9)


# --- states ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actual", "contract", "intended", "following", "phase"),
    [
        (None, "running", "running", None, "provisioning"),
        ("created", "running", "running", "running", "loading"),
        ("loading", "running", "running", "running", "loading"),
        ("running", "running", "running", "running", "running"),
        ("exited", "running", "running", None, "exited"),
        ("running", "running", "stopped", None, "stopping"),
        ("exited", "running", "stopped", None, "stopping"),
        ("exited", "stopped", "stopped", "stopped", "stopped"),
        ("exited", "stopped", "running", None, "queued"),
        ("exited", "stopped", None, None, "stopped"),
        ("offline", "running", "running", "running", "offline"),
        ("unknown", "running", "running", "running", "unknown"),
    ],
)
def test_the_observed_states_have_a_word(actual: Any, contract: Any, intended: Any, following: Any, phase: str) -> None:
    record = InstanceRecord(
        id=1, actual_status=actual, cur_state=contract, intended_status=intended, next_state=following
    )

    assert phase_of(record) == phase


def test_an_eviction_is_told_from_a_stop() -> None:
    told = {
        "id": 1,
        "actual_status": "exited",
        "cur_state": "stopped",
        "intended_status": "stopped",
        "is_bid": True,
        "dph_base": 0.3,
    }

    assert phase_of(InstanceRecord.model_validate({**told, "min_bid": 0.34})) == "outbid"
    assert phase_of(InstanceRecord.model_validate({**told, "min_bid": 0.34}), was_stopped=True) == "stopped"
    assert phase_of(InstanceRecord.model_validate({**told, "min_bid": 0.3})) == "stopped"
    assert phase_of(InstanceRecord.model_validate({**told, "min_bid": 0.34, "is_bid": False})) == "stopped"


def test_a_container_that_cannot_be_made_has_failed() -> None:
    told = "Error response from daemon: OCI runtime create failed: runc create failed"

    assert phase_of(InstanceRecord(id=1, actual_status="created", cur_state="running", status_msg=told)) == "failed"


@pytest.mark.parametrize(
    ("phase", "waited_s", "expected"),
    [("running", 0, "ready"), ("loading", 899, "wait"), ("loading", 901, "stuck"), ("exited", 60, "wait"), ("exited", 200, "dead"),
     ("failed", 0, "dead"), ("offline", 0, "dead"), ("outbid", 0, "dead"), ("queued", 10_000, "wait"), ("stopping", 5, "wait")],
)  # fmt: skip
def test_whoever_waits_is_told_at_once_what_never_recovers(phase: Any, waited_s: float, expected: str) -> None:
    assert verdict(phase, waited_s=waited_s, start_s=180, stuck_s=900) == expected
