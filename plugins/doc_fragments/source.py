# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Documentation of the option with which modules take a document's source."""

from __future__ import annotations


class ModuleDocFragment:
    """The option of ``source`` and ``images``."""

    DOCUMENTATION = r"""
options:
  source:
    description:
      - Where the source comes from.
      - Exactly one of C(git_repo), C(dockerfile) and C(tar) is required.
    type: dict
    suboptions:
      git_repo:
        description: A git repository.
        type: dict
        suboptions:
          url:
            description: Address of the repository, by C(https), C(http), C(ssh), C(git) or C(file).
            type: str
            required: true
          version:
            description: A branch, a tag, V(HEAD), or a full or abbreviated commit. A branch wins over a tag.
            type: str
            default: HEAD
          username:
            description: Name to log in with over HTTP.
            type: str
          password:
            description:
              - >-
                Password or token to log in with over HTTP, as text or as V({env: NAME}) or V({file: PATH}),
                read on the host where the module runs.
            type: raw
          ssh_key_file:
            description: Path of the private key to log in with over SSH.
            type: path
          ssh_known_hosts_file:
            description: Path of the file with the SSH server's key, instead of the user's own.
            type: path
          dockerfile:
            description: Path of the Dockerfile inside the repository.
            type: str
            default: Dockerfile
          workdir:
            description: Folder inside the repository that becomes the build context.
            type: str
            default: .
      dockerfile:
        description: >-
          A Dockerfile by itself. The build behaves as if it lay in the root of the build context, but it is
          not among the files that C(COPY) sees.
        type: dict
        suboptions:
          url:
            description: Address of the Dockerfile, by C(https), C(http) or C(file).
            type: str
            required: true
          username:
            description: Name to log in with over HTTP.
            type: str
          password:
            description: Password or token to log in with over HTTP, in the forms of a repository's.
            type: raw
          checksum:
            description: Digest that the Dockerfile must have, V(sha256:) and 64 hexadecimal digits.
            type: str
      build_context:
        description: >-
          Build context for C(dockerfile), a git repository by its C(url) or a local folder by its C(path).
          Without it nothing but the Dockerfile reaches the build.
        type: dict
        suboptions:
          url:
            description: Address of the repository, as for C(git_repo).
            type: str
          version:
            description: A branch, a tag, V(HEAD), or a full or abbreviated commit. The default is V(HEAD).
            type: str
          username:
            description: Name to log in with over HTTP.
            type: str
          password:
            description: Password or token to log in with over HTTP, in the forms of a repository's.
            type: raw
          ssh_key_file:
            description: Path of the private key to log in with over SSH.
            type: path
          ssh_known_hosts_file:
            description: Path of the file with the SSH server's key, instead of the user's own.
            type: path
          subdir:
            description: Folder inside the repository that becomes the build context.
            type: str
          path:
            description: Absolute path of a folder on the host, used as it is, without copying.
            type: path
      tar:
        description: >-
          A tar archive, plain or compressed by gzip, bzip2, xz or zstd. With a Dockerfile it is a build
          context; without one it may be an image that C(docker save) or an OCI tool wrote.
        type: dict
        suboptions:
          url:
            description: Address of the archive, by C(https), C(http) or C(file).
            type: str
          path:
            description: Absolute path of the archive on the host.
            type: path
          username:
            description: Name to log in with over HTTP.
            type: str
          password:
            description: Password or token to log in with over HTTP, in the forms of a repository's.
            type: raw
          checksum:
            description: Digest that the archive must have, V(sha256:) and 64 hexadecimal digits.
            type: str
          dockerfile:
            description: Path of the Dockerfile inside the archive.
            type: str
            default: Dockerfile
          workdir:
            description: Folder inside the archive that becomes the build context.
            type: str
            default: .
"""
