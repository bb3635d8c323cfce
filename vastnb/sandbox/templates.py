"""The public templates of the sandbox: written by us in the manner of the popular ones, none of them copied.

A template's hash is made from its content, as on the real service; how often it was used grows with the clock.
"""

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

_DAY_S = 86400
CREATOR_ID = 1_000_900
FIRST_ID = 700_001

KINDS: dict[str, str] = {
    "count_created": "number",
    "created_at": "number",
    "creator_id": "number",
    "default_tag": "text",
    "docker_login_repo": "text",
    "hash_id": "text",
    "id": "number",
    "image": "text",
    "jup_direct": "bool",
    "name": "text",
    "private": "flag",
    "recent_create_date": "number",
    "recommended": "bool",
    "recommended_disk_space": "number",
    "ssh_direct": "bool",
    "tag": "text",
    "use_ssh": "bool",
}
"""What templates can be filtered by, as the official client knows it; the documentation has all but ``private``."""


class Template(NamedTuple):
    """What its author decided about a template."""

    name: str
    image: str
    tag: str
    runtype: str
    """``jupyter``, ``ssh`` or ``args``."""
    desc: str
    disk_gb: float
    per_day: float
    """Instances made from it per day."""
    created_at: float
    env: str = ""
    onstart: str = ""
    args_str: str = ""
    filters: Mapping[str, dict[str, Any]] = MappingProxyType({})
    recommended: bool = True


_NOTEBOOK = "-p 1111:1111 -p 8080:8080 -p 8384:8384 -p 6006:6006 -e JUPYTER_DIR=/workspace"
_SETUP = "env >> /etc/environment; mkdir -p /workspace"
_NEW_CUDA = {"cuda_max_good": {"gte": 12.4}}

TEMPLATES: tuple[Template, ...] = (
    Template("PyTorch (Vast)", "vastai/pytorch", "2.6.0-cuda-12.4.1-py311", "jupyter",
             "PyTorch with Jupyter, TensorBoard and SSH", 32.0, 410.0, 1_700_481_600.0, _NOTEBOOK, _SETUP, "",
             _NEW_CUDA),
    Template("TensorFlow CUDA", "tensorflow/tensorflow", "2.18.0-gpu-jupyter", "jupyter",
             "TensorFlow and Keras with Jupyter", 24.0, 36.0, 1_701_734_400.0, "-p 6006:6006", _SETUP),
    Template("ComfyUI", "vastai/comfy", "v0.3.60-cuda-12.4.1-py311", "jupyter",
             "Node-based image and video generation", 64.0, 185.0, 1_712_275_200.0,
             "-p 8188:8188 -p 1111:1111 -e COMFYUI_ARGS=--listen", _SETUP, "",
             _NEW_CUDA | {"gpu_ram": {"gte": 12000}}),
    Template("vLLM OpenAI server", "vllm/vllm-openai", "v0.9.2", "args",
             "Serves a language model with an OpenAI-compatible API", 96.0, 96.0, 1_718_668_800.0,
             "-p 8000:8000 -e VLLM_USE_V1=1", "", "--model Qwen/Qwen3-8B --max-model-len 16384",
             _NEW_CUDA | {"gpu_ram": {"gte": 20000}, "compute_cap": {"gte": 800}}),
    Template("Open WebUI (Ollama)", "ghcr.io/open-webui/open-webui", "ollama", "ssh",
             "Chat with open models in the browser", 48.0, 122.0, 1_714_608_000.0,
             "-p 8080:8080 -p 11434:11434 -e OLLAMA_HOST=0.0.0.0", "ollama serve &"),
    Template("Text generation inference", "ghcr.io/huggingface/text-generation-inference", "3.3.4", "args",
             "Serves a language model by Hugging Face's server", 80.0, 11.0, 1_706_659_200.0, "-p 3000:80", "",
             "--model-id Qwen/Qwen3-4B", _NEW_CUDA | {"gpu_ram": {"gte": 16000}}, False),
    Template("NVIDIA CUDA", "nvidia/cuda", "12.4.1-cudnn-devel-ubuntu22.04", "ssh",
             "Plain CUDA with compiler and cuDNN", 16.0, 149.0, 1_696_118_400.0, "", _SETUP),
    Template("Ubuntu desktop", "vastai/linux-desktop", "cuda-12.4-ubuntu-22.04", "jupyter",
             "A desktop in the browser, with Blender", 40.0, 58.0, 1_709_856_000.0,
             "-p 6100:6100 -p 1111:1111 -e DISPLAY_SIZEW=1920 -e DISPLAY_SIZEH=1080", _SETUP),
    Template("Ubuntu 22.04 VM", "docker.io/vastai/kvm", "ubuntu_cli_22.04", "ssh",
             "A virtual machine with its own kernel", 40.0, 44.0, 1_725_408_000.0, "", "", "",
             {"vms_enabled": {"eq": True}}),
    Template("RAPIDS notebooks", "rapidsai/notebooks", "25.06-cuda12.8-py3.12", "jupyter",
             "cuDF, cuML and friends with JupyterLab", 40.0, 7.0, 1_704_240_000.0, "-p 8787:8787", "", "",
             _NEW_CUDA | {"compute_cap": {"gte": 700}}, False),
    Template("Axolotl fine-tuning", "axolotlai/axolotl-cloud", "main-latest", "jupyter",
             "Fine-tunes language models from a YAML file", 128.0, 16.0, 1_716_422_400.0, "-p 8888:8888", _SETUP, "",
             _NEW_CUDA | {"gpu_ram": {"gte": 24000}}),
    Template("Whisper server", "onerahmet/openai-whisper-asr-webservice", "latest-gpu", "args",
             "Speech to text over HTTP", 20.0, 9.0, 1_713_139_200.0, "-p 9000:9000 -e ASR_MODEL=large-v3", "", "",
             {"gpu_ram": {"gte": 10000}}, False),
    Template("JupyterLab minimal", "quay.io/jupyter/pytorch-notebook", "cuda12-python-3.12", "jupyter",
             "A small JupyterLab, for lessons", 16.0, 21.0, 1_720_051_200.0, "", "", "", {}, False),
)  # fmt: skip


def identity(number: int) -> tuple[int, str]:
    """Return the id and the hash of the template at ``number`` of :data:`TEMPLATES`."""
    content = json.dumps(TEMPLATES[number], sort_keys=True, default=dict)
    return FIRST_ID + number * 37, hashlib.md5(content.encode(), usedforsecurity=False).hexdigest()


def rows(now: float) -> list[dict[str, Any]]:
    """Return all templates as they are listed at ``now``, by id."""
    return [_row(number, template, now) for number, template in enumerate(TEMPLATES)]


def _row(number: int, template: Template, now: float) -> dict[str, Any]:
    template_id, hash_id = identity(number)
    age_s = max(0.0, now - template.created_at)
    jupyter, is_server = template.runtype == "jupyter", template.runtype == "args"
    return {
        "args_str": template.args_str,
        "count_created": int(template.per_day * age_s / _DAY_S),
        "created_at": template.created_at,
        "creator_id": CREATOR_ID,
        "default_tag": "latest",
        "desc": template.desc,
        "docker_login_repo": None,
        "env": template.env,
        "extra_filters": dict(template.filters),
        "hash_id": hash_id,
        "href": f"https://{template.image}" if "." in template.image else f"https://hub.docker.com/r/{template.image}",
        "id": template_id,
        "image": template.image,
        "jup_direct": jupyter,
        "jupyter_dir": "/workspace" if jupyter else None,
        "name": template.name,
        "onstart": template.onstart,
        "private": False,
        "readme": f"# {template.name}\n\n{template.desc}.\n",
        "readme_visible": True,
        # Somebody rents every few minutes.
        "recent_create_date": max(template.created_at, now // 600 * 600),
        "recommended": template.recommended,
        "recommended_disk_space": template.disk_gb,
        "repo": template.image,
        "runtype": template.runtype,
        "ssh_direct": not is_server,
        "tag": template.tag,
        "use_jupyter_lab": jupyter,
        "use_ssh": not is_server,
        "volume_info": None,
    }
