#!/usr/bin/python
# Copyright the image-builder authors. Apache-2.0 (see LICENSE).

from __future__ import annotations

DOCUMENTATION = r"""
module: images
short_description: Builds images for several platforms and pushes them
version_added: 1.0.0
author: SODALITE image-builder authors (@sodalite-eu)
description:
  - Builds all images of O(target) from one source with Docker buildx, in one go, with other base images
    injected where asked for, and pushes them from BuildKit.
  - An image that its registry already holds, built from the same inputs, is left as it is.
  - When one image fails, the others are still built and pushed.
requirements:
  - Docker Engine 26 and buildx 0.13 or newer on the host where the module runs
attributes:
  check_mode:
    description: Can run in check mode, and then returns the plan without building.
    support: full
  diff_mode:
    description: >-
      Shows for each image whether it is built and why, and the base images with their digests. In check
      mode this is the plan.
    support: full
options:
  workspace:
    description:
      - Path of a workspace that M(sodalite.image_builder.source) made.
      - One of O(workspace), O(context) and O(source) is required. O(source) alone is fetched into a workspace
        that is removed in the end, where an image must be built of it.
      - Where it was made with O(sodalite.image_builder.source#module:lazy), O(source) is required too. It is
        used if an image must be built of what was not fetched.
    type: path
  remove_workspace:
    description: Removes O(workspace) in the end, whether the images could be built or not.
    type: bool
    default: false
  custom_workdir:
    description:
      - Absolute path of the folder where O(source) is fetched to, when it is given alone.
      - The default is the folder for temporary files of the host.
    type: path
  context:
    description: Path of a folder on the host, used as the build context as it is.
    type: path
  dockerfile:
    description: Path of the Dockerfile inside O(context).
    type: str
    default: Dockerfile
  target:
    description: The images and the registry they are pushed to.
    type: dict
    required: true
    suboptions:
      images:
        description: The images (variants) to build.
        type: list
        elements: dict
        required: true
        suboptions:
          image:
            description: Repository in the registry, such as V(team/app).
            type: str
            required: true
          tag:
            description: Tag of the image. The default is V(latest) where C(tags) is not given either.
            type: str
          tags:
            description: More tags for the same image.
            type: list
            elements: str
          base:
            description:
              - Base image to inject in place of the Dockerfile's own.
              - A reference replaces the first base image that is not V(scratch), in every stage that starts
                from it.
              - A mapping has the keys V(first), V(final), V(all), the name or index of a stage, or a
                reference as written there, and as values a reference or a mapping from platform to
                reference.
            type: raw
          platforms:
            description: Platforms such as V(linux/arm64). The default is the builder's own.
            type: list
            elements: str
          build_args:
            description: Build arguments. A C(ARG) of the Dockerfile must declare each that is not predefined.
            type: dict
          target:
            description: Name or index of the stage to build. The default is the last one.
            type: str
          labels:
            description: Labels of the image.
            type: dict
          annotations:
            description: OCI annotations of the index and of the manifests.
            type: dict
          no_cache:
            description: Builds without the build cache, and even if nothing has changed.
            type: bool
            default: false
          pull:
            description: Always asks for newer base images.
            type: bool
            default: false
          secrets:
            description:
              - >-
                Secrets for C(RUN --mount=type=secret), by their id. Each is text, V({env: NAME}) or
                V({file: PATH}).
            type: dict
          ssh:
            description:
              - >-
                What C(RUN --mount=type=ssh) reaches, by its id, such as V(default). V(true) is the SSH agent
                of the user who builds; else a private key without a passphrase, as text, V({env: NAME}) or
                V({file: PATH}).
            type: dict
          contexts:
            description: >-
              Images that the Dockerfile means by names, in FROM, C(COPY --from) and the C(from) of
              C(RUN --mount), each by V(docker-image://) and a reference.
            type: dict
          cache_from:
            description: >-
              Where to take the build cache from: references of images, or mappings with C(type): V(registry)
              with C(ref), V(local) with C(src), a folder of the machine that builds, or V(gha) (in GitHub
              Actions) with C(scope).
            type: list
            elements: raw
          cache_to:
            description: >-
              Where to keep the build cache: V(inline), a reference, or a mapping as in C(cache_from), with
              C(mode) (V(min) or V(max)) beside, and C(dest) in place of C(src).
            type: list
            elements: raw
          network:
            description:
              - The network of the steps. V(none) is without one, V(host) that of the machine that builds; the
                builder must allow V(network.host).
            type: str
            choices: [default, none, host]
            default: default
          add_hosts:
            description: >-
              Names of hosts for the steps, each with its IP address or a list of them; V(host-gateway) is
              the machine of the engine.
            type: dict
          shm_size:
            description: Size of C(/dev/shm) for the steps, such as V(128m). The default is the builder's own.
            type: str
          ulimits:
            description: >-
              Limits for the steps, by name, such as V(nofile), each a number or V(soft:hard); V(-1) is
              without a limit.
            type: dict
          no_cache_filter:
            description: Names of stages to build without the build cache, and even if nothing has changed.
            type: list
            elements: str
      registry:
        description: The registry that the images are pushed to.
        type: dict
        required: true
        suboptions:
          url:
            description: Host of the registry, with its port where that is not 443, such as V(docker.io).
            type: str
            required: true
          username:
            description: Name to log in with.
            type: str
          password:
            description: "Password or token to log in with, as text or as V({env: NAME}) or V({file: PATH})."
            type: raw
  options:
    description: What concerns the whole request.
    type: dict
    suboptions:
      builder:
        description: Name of an existing buildx builder to build with.
        type: str
      rebuild:
        description: V(always) builds images too that the registry already holds, built from the same inputs.
        type: str
        choices: [if_changed, always]
        default: if_changed
      on_failure:
        description:
          - V(continue) builds and pushes the other images when one has failed; V(stop) does not go on.
          - V(atomic) pushes no image before all of them are built, so that a failing build changes no tag.
        type: str
        choices: [continue, stop, atomic]
        default: continue
      timeout:
        description: Time limit for fetching, planning and building, in seconds; V(21600) when left out.
        type: float
      retry_for:
        description: How long temporary failures of a registry are tried again, in seconds.
        type: float
        default: 60
      provenance:
        description: The provenance attestation to add. With one, every build has a digest of its own.
        type: str
        choices: ["off", min, max]
        default: "off"
      reproducible:
        description: Gives what steps write the commit's time, so that other engines build the same digest.
          Each layer is then made twice, also where all is cached.
        type: bool
        default: false
      sbom:
        description: Adds a software bill of materials, made by BuildKit's scanner image.
        type: bool
        default: false
      compression:
        description: >-
          Compression of all layers, those of base images too, V(gzip) or V(zstd), or a mapping with C(type)
          and C(level). Without it, each layer stays as it is, and new ones are compressed by gzip.
        type: raw
      delete_images:
        description: Whether the pushed images are removed when a deployment is taken down. Not used here.
        type: bool
        default: false
extends_documentation_fragment:
  - sodalite.image_builder.docker_package
  - sodalite.image_builder.source
"""

EXAMPLES = r"""
- name: Fetch a repository, build an image of it, and leave nothing behind
  sodalite.image_builder.images:
    source:
      git_repo:
        url: https://git.example.com/team/app.git
    target:
      images:
        - image: team/app
      registry:
        url: registry.example.com

- name: Build two variants for two platforms
  sodalite.image_builder.images:
    workspace: "{{ fetched.workspace }}"
    remove_workspace: true
    target:
      images:
        - image: team/app
          tag: latest
          platforms: [linux/amd64, linux/arm64]
        - image: team/app
          tag: python-3.8
          base: python:3.8-alpine
          platforms: [linux/amd64, linux/arm64]
      registry:
        url: registry.example.com
        username: builder
        password:
          env: REGISTRY_TOKEN
  register: built

- name: Deploy exactly what was built
  ansible.builtin.debug:
    msg: "{{ built.images[0].reference }}@{{ built.images[0].digest }}"
"""

RETURN = r"""
images:
  description:
    - An entry for each image, in the order of the document; also when some of them failed, and with what was
      known by then when the time limit ended the build.
  returned: always, unless nothing could be planned
  type: list
  elements: dict
  contains:
    reference:
      description: Full name and tag.
      type: str
      sample: registry.example.com/team/app:latest
    references:
      description: Every name and tag of the image.
      type: list
      elements: str
    registry:
      description: Host of the registry.
      type: str
    image:
      description: Repository in the registry.
      type: str
    tag:
      description: The leading tag.
      type: str
    digest:
      description:
        - Digest of the index, or of the manifest of an image for one platform; empty if it was not pushed.
      type: str
    platforms:
      description: Each C(platform) with the C(digest) of its manifest, which is empty if it is not known.
      type: list
      elements: dict
    bases:
      description:
        - The base images, for each stage and platform, with C(stage), C(stage_name), C(line), C(platform),
          C(original) (as the Dockerfile says), C(reference) (in effect), C(digest) and C(overridden).
        - Where the image is V(unchanged), those that it was built from.
      type: list
      elements: dict
    state:
      description:
        - V(success), V(unchanged), V(failed), V(cancelled), or V(pending) in check mode.
        - V(cancelled) is an image that was not pushed, since another one failed or the build was ended.
      type: str
    reason:
      description: Why the image was built, or why it was not.
      type: str
    changed:
      description: Whether the image was pushed.
      type: bool
    seconds:
      description: Time from the start of the build until the image was pushed.
      type: float
    revision:
      description: Revision of the source, or where the image is V(unchanged), the one that it was built from.
      type: str
    attestations:
      description: Digests of the attestations, by the digest of the manifest they are about.
      type: dict
    input_hash:
      description: Hash of everything that the image is made from, kept with it in the registry.
      type: str
    error:
      description: Why it failed, with the same keys as C(error).
      type: dict
error:
  description:
    - The error for programs, with code, phase, message, hint, image, platform, file, line and retryable.
    - C(excerpt) is a list of the lines around that line, C(output) one of what a failed step printed last.
  returned: failure
  type: dict
"""

from ansible_collections.sodalite.image_builder.plugins.module_utils import module_run
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.plan_text import describe_image
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.result import Report
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import (
    accept_document,
    accept_images,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.argument_spec import (
    KEYS,
    OPTIONS,
    SOURCE,
    TARGET,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import Listener
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations import request
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.build_images import (
    InFolder,
    InWorkspace,
    build_images,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.fetch_source import (
    remove_source,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.text import printable_lines


def main() -> None:
    module = module_run.AnsibleModule(
        argument_spec={
            "workspace": {"type": "path"},
            "remove_workspace": {"type": "bool", "default": False},
            "source": {"type": "dict", "options": SOURCE},
            "custom_workdir": {"type": "path"},
            "context": {"type": "path"},
            "dockerfile": {"type": "str", "default": "Dockerfile"},
            "target": {"type": "dict", "required": True, "options": TARGET},
            "options": {"type": "dict", "options": OPTIONS},
        },
        required_one_of=[("workspace", "context", "source")],
        mutually_exclusive=[
            ("workspace", "context"),
            ("source", "context"),
            ("custom_workdir", "workspace"),
            ("custom_workdir", "context"),
        ],
        supports_check_mode=True,
    )
    given = module.params
    whole = not given["workspace"] and not given["context"]
    with module_run.opened(module) as listener:
        built = _built_whole(module, listener) if whole else _built_there(module, listener)
        result = built.to_dict()
        if module._diff:
            lines = [line for image in result["images"] for line in describe_image(image)]
            result["diff"] = {"prepared": "\n".join(lines)}
        if built.error is not None:
            module.fail_json(msg=str(built.error), error=built.error.to_dict(), **result)
        module.exit_json(**result)


def _built_whole(module: module_run.AnsibleModule, listener: Listener) -> Report:
    document = accept_document({name: module.params[name] for name in KEYS})
    return request.carry_out(
        document,
        listener,
        plan_only=module.check_mode,
        warn=lambda warning: module.warn(printable_lines(warning)),
    )


def _built_there(module: module_run.AnsibleModule, listener: Listener) -> Report:
    """What was fetched already, or is a folder of this machine."""
    given = module.params
    target, options, source = accept_images(given["target"], given["options"], given["source"])
    place = (
        InFolder(given["context"], given["dockerfile"])
        if given["context"]
        else InWorkspace(given["workspace"], source)
    )
    try:
        return build_images(target, options, place, listener, plan_only=module.check_mode)
    finally:
        if given["workspace"] and given["remove_workspace"]:
            remove_source(given["workspace"])


if __name__ == "__main__":
    main()
