"""The Xcode project and its files, without Xcode: syntax, references, lists, permissions."""

from __future__ import annotations

import json
import plistlib
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests import needs

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "ios_demo"
PROJECT = DEMO / "EdgeKitDemo.xcodeproj"
SWIFT = sorted(
    file
    for folder in ("App", "EdgeKitCore", "LinuxEngine", "StandIns")
    for file in (DEMO / folder).rglob("*.swift")
    if ".build" not in file.parts
)
OURS = [file for file in SWIFT if "StandIns" not in file.parts]
KINDS = {  # of a reference, by the key that holds it
    "fileRef": {"PBXFileReference"},
    "productRef": {"XCSwiftPackageProductDependency"},
    "package": {"XCLocalSwiftPackageReference"},
    "packageReferences": {"XCLocalSwiftPackageReference"},
    "packageProductDependencies": {"XCSwiftPackageProductDependency"},
    "buildConfigurationList": {"XCConfigurationList"},
    "buildConfigurations": {"XCBuildConfiguration"},
    "buildPhases": {
        "PBXSourcesBuildPhase",
        "PBXFrameworksBuildPhase",
        "PBXResourcesBuildPhase",
    },
    "fileSystemSynchronizedGroups": {"PBXFileSystemSynchronizedRootGroup"},
    "children": {"PBXGroup", "PBXFileReference", "PBXFileSystemSynchronizedRootGroup"},
    "files": {"PBXBuildFile"},
    "mainGroup": {"PBXGroup"},
    "productRefGroup": {"PBXGroup"},
    "productReference": {"PBXFileReference"},
    "targets": {"PBXNativeTarget"},
}


def openstep(text: str) -> Any:
    """Read a property list of the old kind, which plistlib cannot; ValueError if it is none."""
    token = re.compile(
        r'(?P<skip>\s+|/\*.*?\*/|//[^\n]*)|(?P<mark>[{}()=;,])|"(?P<quoted>(?:[^"\\]|\\.)*)"'
        r"|(?P<word>[A-Za-z0-9_./$-]+)",
        re.S,
    )
    tokens: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        found = token.match(text, at)
        if found is None:
            raise ValueError(f"no token at {text[at : at + 30]!r}")
        kind = str(found.lastgroup)
        if kind != "skip":
            tokens.append((kind, found.group(kind)))
        at = found.end()
    rest = iter(tokens)

    def value(first: tuple[str, str]) -> Any:
        if first == ("mark", "{"):
            made: dict[str, Any] = {}
            while (key := next(rest)) != ("mark", "}"):
                if key[0] == "mark" or key[1] in made:
                    raise ValueError(f"unexpected or repeated {key[1]!r}")
                if next(rest) != ("mark", "="):
                    raise ValueError(f"no = after {key[1]}")
                made[key[1]] = value(next(rest))
                if next(rest) != ("mark", ";"):
                    raise ValueError(f"no ; after {key[1]}")
            return made
        if first == ("mark", "("):
            items = []
            while (item := next(rest)) != ("mark", ")"):
                items.append(value(item))
                if (after := next(rest)) == ("mark", ")"):
                    return items
                if after != ("mark", ","):
                    raise ValueError(f"no , after {items[-1]!r}")
            return items
        if first[0] == "mark":
            raise ValueError(f"unexpected {first[1]!r}")
        return first[1]

    made = value(next(rest))
    if next(rest, None) is not None:
        raise ValueError("more than one value")
    return made


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    text = (PROJECT / "project.pbxproj").read_text(encoding="utf-8")
    assert text.startswith("// !$*UTF8*$!\n")
    found = openstep(text)
    assert isinstance(found, dict)
    return found


def references(item: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key in KINDS:
        held = item.get(key, [])
        for one in held if isinstance(held, list) else [held]:
            yield key, one


def test_a_damaged_project_file_is_noticed():
    for broken in ("{a = 1;", "{a = (1 2);}", "{a = 1; a = 2;}", "{a 1;}", "{a = ä;}", "{} {}"):
        with pytest.raises((ValueError, StopIteration)):
            openstep(broken)


def test_ids_are_24_hexadecimal_digits_and_every_reference_leads_to_the_right_kind(project):
    objects = project["objects"]

    assert project["objectVersion"] == "77"
    assert all(re.fullmatch(r"[0-9A-F]{24}", name) for name in objects)
    assert objects[project["rootObject"]]["isa"] == "PBXProject"
    seen = {project["rootObject"]}
    for name, item in objects.items():
        for key, held in references(item):
            assert objects[held]["isa"] in KINDS[key], f"{name}.{key}"
            seen.add(held)
        for key, held in item.items():
            if isinstance(held, str) and re.fullmatch(r"[0-9A-F]{24}", held):
                assert held in objects, f"{name}.{key} dangles"
    assert seen == set(objects), "objects that nothing refers to"


def test_what_the_project_names_is_there(project):
    objects = project["objects"].values()
    paths = [
        item["path"]
        for item in objects
        if item["isa"] in ("PBXFileReference", "PBXFileSystemSynchronizedRootGroup")
        and item["sourceTree"] == "<group>"
    ]
    packages = [item["relativePath"] for item in objects if "relativePath" in item]
    settings = [item["buildSettings"] for item in objects if "buildSettings" in item]
    products = [
        item["productName"] for item in objects if item["isa"].startswith("XCSwiftPackageProduct")
    ]
    manifest = (DEMO / "EdgeKitCore/Package.swift").read_text(encoding="utf-8")

    assert {"App", "Bundles", "Info.plist", "README.md"} <= set(paths)
    assert all((DEMO / path).exists() for path in paths)
    assert packages == ["EdgeKitCore"]
    assert all(f'.library(name: "{name}"' in manifest for name in products)
    assert {row["INFOPLIST_FILE"] for row in settings if "INFOPLIST_FILE" in row} == {"Info.plist"}
    assert {row["SWIFT_VERSION"] for row in settings if "SWIFT_VERSION" in row} == {"6.0"}
    oldest = {row["IPHONEOS_DEPLOYMENT_TARGET"] for row in settings if "SDKROOT" in row}
    assert oldest == {"17.0"}
    assert ".iOS(.v17)" in manifest
    assert not any("CODE_SIGN_ENTITLEMENTS" in row or "DEVELOPMENT_TEAM" in row for row in settings)


def test_each_product_of_the_package_names_its_package(project):
    """Without it xcodebuild finds the product and Xcode 26 does not (yonaskolb/XcodeGen #1549)."""
    products = [
        item
        for item in project["objects"].values()
        if item["isa"] == "XCSwiftPackageProductDependency"
    ]

    assert len(products) == 3
    assert all("package" in item for item in products)


def test_the_bundles_folder_is_copied_as_it_stands_and_not_compiled(project):
    objects = project["objects"]
    bundles = [name for name, item in objects.items() if item.get("path") == "Bundles"]
    files = {
        objects[file].get("fileRef")
        for item in objects.values()
        if item["isa"] == "PBXResourcesBuildPhase"
        for file in item["files"]
    }

    assert objects[bundles[0]]["lastKnownFileType"] == "folder"
    assert files == set(bundles)
    assert (DEMO / "Bundles/.gitignore").read_text().splitlines()[0] == "*"


def test_the_scheme_names_the_target_and_the_tests_of_the_package(project):
    scheme = ElementTree.parse(PROJECT / "xcshareddata/xcschemes/EdgeKitDemo.xcscheme")
    named = {
        (row.get("BlueprintIdentifier"), row.get("ReferencedContainer"))
        for row in scheme.iter("BuildableReference")
    }
    target = next(
        name for name, item in project["objects"].items() if item["isa"] == "PBXNativeTarget"
    )

    assert named == {
        (target, "container:EdgeKitDemo.xcodeproj"),
        ("EdgeKitCoreTests", "container:EdgeKitCore"),
    }
    ElementTree.parse(PROJECT / "project.xcworkspace/contents.xcworkspacedata")


def test_the_app_asks_for_the_camera_and_says_why():
    info = plistlib.loads((DEMO / "Info.plist").read_bytes())

    assert info["NSCameraUsageDescription"].endswith("never leave this device.")
    assert [key for key in info if key.endswith("UsageDescription")] == ["NSCameraUsageDescription"]
    assert "NSAppTransportSecurity" not in info
    assert info["UILaunchScreen"] == {}


def test_the_privacy_manifest_collects_nothing_and_names_the_interfaces_that_need_a_reason():
    privacy = plistlib.loads((DEMO / "App/PrivacyInfo.xcprivacy").read_bytes())
    text = "".join(file.read_text(encoding="utf-8") for file in OURS)
    rows = privacy["NSPrivacyAccessedAPITypes"]
    named = {row["NSPrivacyAccessedAPIType"] for row in rows}

    assert privacy["NSPrivacyTracking"] is False
    assert privacy["NSPrivacyCollectedDataTypes"] == privacy["NSPrivacyTrackingDomains"] == []
    assert all(
        row["NSPrivacyAccessedAPITypeReasons"] for row in privacy["NSPrivacyAccessedAPITypes"]
    )
    assert ("modificationDate" in text) == ("NSPrivacyAccessedAPICategoryFileTimestamp" in named)
    assert "UserDefaults" not in text


def test_the_app_has_no_way_to_a_network():
    ways = re.compile(
        r"\b(URLSession|NSURLConnection|URLRequest|CFNetwork|NWConnection|WKWebView|WebKit|CFSocket"
        r"|getaddrinfo|MultipeerConnectivity|import Network)\b|https?://"
    )
    found = [
        f"{file.name}: {line.strip()}"
        for file in OURS
        for line in file.read_text(encoding="utf-8").splitlines()
        if ways.search(line)
    ]

    assert not found
    assert not list(DEMO.rglob("*.entitlements"))


def test_the_icon_is_what_the_store_takes():
    folder = DEMO / "App/Assets.xcassets/AppIcon.appiconset"
    listed = json.loads((folder / "Contents.json").read_text())["images"]

    with Image.open(folder / listed[0]["filename"]) as icon:
        assert (icon.size, icon.mode) == ((1024, 1024), "RGB")
    for file in (DEMO / "App/Assets.xcassets").rglob("Contents.json"):
        json.loads(file.read_text())


def test_there_are_swift_files_of_every_part():
    parts = {file.relative_to(DEMO).parts[0] for file in SWIFT}

    assert parts == {"App", "EdgeKitCore", "LinuxEngine", "StandIns"}
    assert len(SWIFT) > 30


@needs.SWIFT_SYNTAX
@pytest.mark.parametrize("file", OURS, ids=lambda file: file.name)
def test_every_swift_file_is_parsed_without_an_error(file):
    assert syntax_errors(file.read_text(encoding="utf-8")) == []


@needs.SWIFT_SYNTAX
def test_a_broken_swift_file_is_noticed():
    text = OURS[0].read_text(encoding="utf-8")

    assert syntax_errors(text[: len(text) // 2] + " func ( {{ = \n" + text[len(text) // 2 :])


def syntax_errors(text: str) -> list[str]:
    import tree_sitter
    import tree_sitter_swift

    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_swift.language()))
    open_nodes = [parser.parse(text.encode()).root_node]
    found = []
    while open_nodes:
        node = open_nodes.pop()
        if node.is_error or node.is_missing:
            line = text.splitlines()[min(node.start_point[0], len(text.splitlines()) - 1)]
            found.append(f"line {node.start_point[0] + 1}: {line.strip()}")
        elif node.has_error:
            open_nodes.extend(node.children)
    return found


def test_swift_files_stay_short_and_depend_only_on_what_their_layer_may_see():
    allowed = {
        "EdgeKitCore": {"Foundation", "CryptoKit"},
        "EdgeKitStudio": {"Foundation", "Observation", "EdgeKitCore"},
        "EdgeKitEngines": {"Foundation", "CoreML", "CoreAI", "CoreVideo", "EdgeKitCore"},
    }
    for file in OURS:
        text = file.read_text(encoding="utf-8")
        assert text.count("\n") < 400, file
        layer = file.parent.name
        if layer in allowed and file.name != "Package.swift":
            imported = set(re.findall(r"^\s*import (\w+)", text, re.M))
            assert imported <= allowed[layer], f"{file.name}: {imported - allowed[layer]}"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["where"], 3, "ios_demo/toolchain.sh install"),
        (["run", "swift", "--version"], 3, "no Swift 6 here"),
        (["fetch"], 2, "give install, where or run"),
        ([], 2, "give install, where or run"),
    ],
)
def test_a_missing_toolchain_is_a_sentence_with_the_way_to_get_it(words, code, says, tmp_path):
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "EDGEKIT_SWIFT_ROOT": str(tmp_path)}
    if shutil.which("swift", path=environment["PATH"]):
        pytest.skip("a Swift compiler is installed for everybody")

    done = subprocess.run(
        [DEMO / "toolchain.sh", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == code
    assert says in done.stderr


def test_the_scripts_are_whole():
    for script in DEMO.rglob("*.sh"):
        subprocess.run(["bash", "-n", script], check=True)
        assert script.stat().st_mode & 0o111, script
