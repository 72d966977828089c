"""Packages of npm, each in a folder of the suite that needs it."""

DEADLINE = 300


def install(setup, packages):
    """Installs packages, each `NAME@VERSION`, once; gives the folder."""
    npm = setup.need("npm", "install Node.js with npm")
    stamp, wanted = setup.folder / "npm.complete", "\n".join(packages)
    if not stamp.exists() or stamp.read_text() != wanted:
        (setup.folder / "package.json").write_text('{"private": true, "type": "module"}\n')
        options = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
        setup.fetch([npm, "install", *options, *packages], DEADLINE)
        stamp.write_text(wanted)
    return setup.folder
