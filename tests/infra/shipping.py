"""How it gets to where it runs: workflows and Dockerfile by linters, azure.yaml, and ./package with the executable at hand."""

import importlib.machinery
import importlib.util
import pathlib
import platform
import re
import subprocess
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = pathlib.Path(sys.executable).parent
PACKS_HERE = (platform.system(), platform.machine()) == ("Linux", "x86_64")


def linted(root, *command):
    """What a linter says that has something to say."""
    done = subprocess.run([PROGRAMS / command[0], *command[1:]], cwd=root, capture_output=True, text=True)
    return done.stdout.splitlines() + done.stderr.splitlines() if done.returncode else []


def workflows(root):
    files = sorted(path.relative_to(root) for path in (root / ".github" / "workflows").glob("*.yml"))
    yield from linted(root, "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)
    # Actions pinned by hash, no permission more than needed, nothing of an event pasted into a script, …
    yield from linted(root, "zizmor", "--offline", "--no-progress", "--quiet", "--persona", "pedantic", *files)


def dockerfile(root):
    yield from linted(root, "hadolint", "Dockerfile")


def toolchain(root):
    """One compiler everywhere, that which Cargo.toml asks for at least."""
    wanted = re.search(r'^rust-version = "([^"]+)"$', (root / "Cargo.toml").read_text(), re.M)[1]
    for path in [*sorted((root / ".github" / "workflows").glob("*.yml")), root / "Dockerfile"]:
        named = re.findall(r'RUSTUP_TOOLCHAIN: "([^"]+)"|^FROM rust:([0-9.]+)', path.read_text(), re.M)
        if {version for pair in named for version in pair if version} != {f"{wanted}.0"}:
            yield f"{path.name}: not Rust {wanted}.0"


def azure_yaml(root):
    text = (root / "azure.yaml").read_text()
    packs = load(root / "package").PACKAGE.relative_to(root.resolve())
    if f"dist: {packs}" not in text or "run: python3 package" not in text:
        yield f"azure.yaml does not deploy {packs}, which ./package makes"


LOOKS = [workflows, dockerfile, toolchain, azure_yaml]


def problems(root):
    return [problem for look in LOOKS for problem in look(root)]


def load(path):
    """./package as a module."""
    loader = importlib.machinery.SourceFileLoader("package", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("package", loader))
    loader.exec_module(module)
    return module


def packing(root, executable):
    """Facts of ./package, and whether each holds."""
    package = load(root / "package")
    newest = package.linkage(executable)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        files = package.contents(executable)
        made, again = folder / "package.zip", folder / "again.zip"

        def told(call, *arguments):
            try:
                return call(*arguments)
            except package.Refused as refusal:
                return str(refusal)

        def spoiled(spoil):
            """What is said of a package to which that was done."""
            with zipfile.ZipFile(made) as source, zipfile.ZipFile(folder / "spoiled.zip", "w") as target:
                for entry in source.infolist():
                    data = source.read(entry)
                    entry.compress_type = zipfile.ZIP_STORED
                    if spoil(entry):
                        target.writestr(entry, data)
            return told(package.unpack, folder / "spoiled.zip", folder / "spoiled", files) or ""

        def without_the_bit(entry):
            entry.external_attr = package.FILE << 16
            return True

        said = told(package.make, executable, newest, made)
        yield "a package is made, unpacked, started, and a user provisioned", "a user was provisioned" in said, said
        package.pack(files, again)
        yield "the same files give the same bytes", made.read_bytes() == again.read_bytes(), "two packages differ"
        names = zipfile.ZipFile(made).namelist()
        yield "it holds what the host needs, and nothing else", names == ["ScimFunction/function.json", "host.json", "scimgate"], names
        # Nothing that is waited for comes.
        package.PATIENCE_SECONDS = 3
        for fact, said, piece in [
            ("an executable without its bit is found", spoiled(without_the_bit), "scimgate (100644)"),
            ("a file that is missing is found", spoiled(lambda entry: entry.filename != "host.json"), "and not"),
            ("one that is linked to glibc is refused", told(package.must_start, executable, None), "is not static"),
            ("one for a newer glibc is refused", told(package.must_start, executable, (2, 1)), "newer than --glibc"),
            ("what is no executable is refused", told(package.must_start, root / "package", None), "no executable for Linux"),
            ("one that does not start is refused", told(package.make, pathlib.Path("/bin/true"), (9, 9), again), "does not start"),
        ]:
            yield fact, piece in said, said
        yield "what was refused leaves the last package alone", again.read_bytes() == made.read_bytes(), "it was written over"


# (file, what is there, what is planted, a piece of what must be said)
PLANTED = [
    (".github/workflows/test.yml", "runs-on: ubuntu-24.04", "runs_on: ubuntu-24.04", "runs_on"),
    (".github/workflows/deploy.yml", "azure/login@a457da9ea143d694b1b9c7c869ebb04ebe844ef5 # v2.3.0", "azure/login@v2", "unpinned-uses"),
    (".github/workflows/deploy.yml", "permissions: {}", "permissions: write-all", "excessive-permissions"),
    (".github/workflows/release.yml", "persist-credentials: false", "fetch-depth: 1", "artipacked"),
    (".github/workflows/release.yml", "$GITHUB_REF_NAME\" --verify-tag", "${{ github.ref_name }}\" --verify-tag", "template-injection"),
    (".github/workflows/release.yml", 'RUSTUP_TOOLCHAIN: "1.95.0"', 'RUSTUP_TOOLCHAIN: "1.94.0"', "release.yml: not Rust"),
    ("Dockerfile", ":nonroot", ":latest", "DL3007"),
    ("Dockerfile", 'CMD ["serve"]', "CMD serve", "DL3025"),
    ("azure.yaml", "dist: target/package.zip", "dist: target/package", "azure.yaml does not deploy"),
]
