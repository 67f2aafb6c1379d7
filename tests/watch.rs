//! `wasmill dev DIR`: a change is live, a bad one is reported while the old one keeps serving, and
//! nothing loops.

use serde_json::json;

use super::cli::copy_function;
use super::support::{Dev, sample, wasmill};

#[tokio::test]
async fn changes_are_deployed_and_bad_ones_reported() {
    let dir = tempfile::tempdir().unwrap();
    let function = dir.path().join("hello");
    std::fs::create_dir(&function).unwrap();
    copy_function("hello", &function);
    let mut dev = Dev::start_with(&[dir.path().to_str().unwrap()]);
    let api = dev.api();
    dev.await_line(|line| line.contains("✓ hello version 1 is live"));
    dev.await_line(|line| line.trim_start().starts_with("kind      event"));
    assert_eq!(api.run("greeting.requested", &json!({"name": "x"})).await["state"], "succeeded");

    let manifest_file = function.join("wasmill.toml");
    let manifest = std::fs::read_to_string(&manifest_file).unwrap();
    let component = std::fs::read(function.join("hello.wasm")).unwrap();
    std::fs::write(&manifest_file, format!("{manifest}\n# a comment changes nothing\n")).unwrap();
    std::fs::write(&manifest_file, manifest.replacen("name =", "descriptoin = 'x'\nname =", 1))
        .unwrap();
    let report = dev.await_line(|line| line.starts_with('✗') || line.starts_with('✓'));
    assert!(report.contains("wasmill.toml"), "{report}");
    let hint = dev.await_line(|line| line.contains("did you mean") || line.starts_with('✓'));
    assert!(hint.contains("description"), "{hint}");

    std::fs::write(&manifest_file, &manifest).unwrap();
    std::fs::write(function.join("hello.wasm"), b"not wasm at all").unwrap();
    let report = dev.await_line(|line| line.starts_with('✗') || line.starts_with('✓'));
    assert!(report.starts_with('✗'), "{report}");
    assert_eq!(api.run("greeting.requested", &json!({"name": "y"})).await["state"], "succeeded");

    // The old bytes again are no change; the next report is of the change after them.
    std::fs::write(function.join("hello.wasm"), &component).unwrap();
    std::fs::write(
        &manifest_file,
        manifest.replacen("description = \"", "description = \"Changed: ", 1),
    )
    .unwrap();
    let report = dev.await_line(|line| line.starts_with('✗') || line.starts_with('✓'));
    assert!(report.contains("hello version 2 is live"), "{report}");
}

#[test]
fn a_folder_that_is_not_there_is_reported() {
    // Its name is somebody's, too: a terminal obeys nothing of it.
    let mut dev = Dev::start_with(&["no-such-folder\u{1b}[2J\u{202e}"]);
    dev.await_line(|line| line.starts_with('✗') && line.contains(r"no-such-folder\u001b[2J\u202e"));
}

/// What a component keeps of its build is told where its author looks.
#[test]
fn what_is_frozen_is_told() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(sample("hello").join("hello.wasm"), dir.path().join("made.wasm")).unwrap();
    let build =
        format!("cp '{}' made.wasm # componentize-py", dir.path().join("made.wasm.of").display());
    std::fs::copy(sample("hello").join("hello.wasm"), dir.path().join("made.wasm.of")).unwrap();
    let manifest = format!("name = 'frozen'\ncomponent = 'made.wasm'\nbuild = {}", json!(build));
    std::fs::write(dir.path().join("wasmill.toml"), manifest).unwrap();
    std::fs::write(dir.path().join("app.py"), "import uuid\nID = uuid.uuid4()\n").unwrap();
    let words = "app.py:2: 'uuid.uuid4' at the top level runs while the component is built";
    let path = dir.path().to_str().unwrap();
    let check = wasmill().args(["check", path]).output().unwrap();
    let checked = String::from_utf8(check.stdout).unwrap();
    assert!(check.status.success() && checked.contains(words), "{checked}");
    let mut dev = Dev::start_with(&[path]);
    dev.await_line(|line| line.contains(words));
}

/// A source that changes is built and deployed, once; a build that fails is reported, and what ran
/// goes on.
#[test]
fn sources_are_built() {
    let dir = tempfile::tempdir().unwrap();
    let function = dir.path().join("copied");
    std::fs::create_dir(&function).unwrap();
    let manifest = |build: &str| {
        std::fs::write(
            function.join("wasmill.toml"),
            format!("name = 'copied'\ncomponent = 'made.wasm'\nbuild = {}", json!(build)),
        )
        .unwrap();
    };
    let [hello, audit] =
        ["hello", "order-audit"].map(|name| sample(name).join(format!("{name}.wasm")));
    // It writes a file besides, which must not start it again for ever.
    manifest(&format!("cp '{}' made.wasm; date +%s%N > stamp", hello.display()));
    let mut dev = Dev::start_with(&[dir.path().to_str().unwrap()]);
    dev.await_line(|line| line.starts_with("· building"));
    dev.await_line(|line| line.contains("✓ copied version 1 is live"));
    manifest("echo broken; exit 3");
    dev.await_line(|line| {
        line.starts_with('✗') && line.contains("the build failed: exit status: 3")
    });
    dev.await_line(|line| line.contains("copied keeps running as it was"));
    manifest(&format!("cp '{}' made.wasm; date +%s%N > stamp", audit.display()));
    dev.await_line(|line| line.contains("✓ copied version 2 is live"));
}

fn write_manifest(folder: &std::path::Path, name: &str) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::copy(sample("hello").join("hello.wasm"), folder.join("hello.wasm")).unwrap();
    std::fs::write(
        folder.join("wasmill.toml"),
        format!("name = '{name}'\ncomponent = 'hello.wasm'"),
    )
    .unwrap();
}

/// A function that has another name now is told of; a name that becomes free goes to who waits for
/// it.
#[test]
fn names_that_are_gone_are_told_and_taken_by_others() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
    write_manifest(&a, "one");
    let mut dev = Dev::start_with(&[dir.path().to_str().unwrap()]);
    dev.await_line(|line| line.contains("✓ one version 1 is live"));
    write_manifest(&b, "one");
    dev.await_line(|line| line.starts_with('✗') && line.contains("the name 'one' is taken by"));
    write_manifest(&a, "two");
    // The name is free as soon as nobody declares it.
    await_all(&mut dev, &["✓ two version 1 is live", "✓ one version 1 is unchanged"]);
    write_manifest(&a, "three");
    dev.await_line(|line| {
        line.contains("is three now; two still runs: `wasmill functions delete two` ends it")
    });
    std::fs::remove_dir_all(&b).unwrap();
    dev.await_line(|line| line.contains("is gone; one still runs"));
    for name in ["one", "two", "three"] {
        dev.cli_ok(&["functions", "show", name]);
    }
}

/// Waits for lines that come in any order.
fn await_all(dev: &mut Dev, wanted: &[&str]) {
    let mut missing = wanted.to_vec();
    while !missing.is_empty() {
        let line = dev.await_line(|line| missing.iter().any(|words| line.contains(words)));
        missing.retain(|words| !line.contains(words));
    }
}

/// Two folders may swap their names, whichever is written first; what is deployed next is told by
/// what runs then.
#[test]
fn names_are_swapped() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
    let write = |folder: &std::path::Path, name: &str, component: &str| {
        let component = sample(component).join(format!("{component}.wasm"));
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(
            folder.join("wasmill.toml"),
            format!("name = '{name}'\ncomponent = {}", json!(component)),
        )
        .unwrap();
    };
    write(&a, "one", "hello");
    write(&b, "two", "order-audit");
    let mut dev = Dev::start_with(&["--prune", dir.path().to_str().unwrap()]);
    dev.await_line(|line| line.contains("✓ one version 1 is live"));
    dev.await_line(|line| line.contains("✓ two version 1 is live"));
    write(&a, "two", "hello");
    dev.await_line(|line| line.starts_with('✗') && line.contains("the name 'two' is taken by"));
    write(&b, "one", "order-audit");
    await_all(&mut dev, &["✓ one version 2 is live", "✓ two version 2 is live"]);

    // A name is free although its folder's new one cannot be deployed.
    write(&b, "three", "no-such-sample");
    dev.await_line(|line| line.starts_with('✗') && line.contains("no-such-sample"));
    write(&a, "one", "order-total");
    dev.await_line(|line| line.contains("✓ one version 3 is live"));
    write(&b, "one", "order-audit");
    dev.await_line(|line| line.starts_with('✗') && line.contains("the name 'one' is taken by"));
    // What runs under it is not what `b` deployed before.
    write(&a, "four", "order-total");
    await_all(&mut dev, &["✓ four version 1 is live", "✓ one version 4 is live"]);
    for name in ["one", "four"] {
        dev.cli_ok(&["functions", "show", name]);
    }
}

#[test]
fn what_is_gone_is_deleted_where_that_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
    write_manifest(&a, "one");
    let mut dev = Dev::start_with(&["--prune", dir.path().to_str().unwrap()]);
    dev.await_line(|line| line.contains("✓ one version 1 is live"));
    // Moved: the name is still there.
    std::fs::rename(&a, &b).unwrap();
    dev.await_line(|line| line.contains("✓ one version 1 is unchanged"));
    write_manifest(&b, "two");
    dev.await_line(|line| line.contains("is two now; one is deleted"));
    dev.cli_fails(3, &["functions", "show", "one"]);
    std::fs::remove_dir_all(&b).unwrap();
    dev.await_line(|line| line.contains("is gone; two is deleted"));
    dev.cli_fails(3, &["functions", "show", "two"]);
}

/// Keys are for everybody else: the process deploys to itself whether one was given or not.
#[test]
fn it_deploys_to_itself_when_keys_exist() {
    let dir = tempfile::tempdir().unwrap();
    write_manifest(&dir.path().join("a"), "one");
    let mut dev = Dev::start_with(&[dir.path().to_str().unwrap()]);
    dev.await_line(|line| line.contains("✓ one version 1 is live"));
    dev.cli_ok(&["keys", "create", "mine", "--role", "operator"]);
    dev.cli_fails(6, &["functions", "list"]);
    write_manifest(&dir.path().join("b"), "two");
    dev.await_line(|line| line.contains("✓ two version 1 is live"));
    dev.kill_9();
    write_manifest(&dir.path().join("c"), "three");
    dev.restart();
    dev.await_line(|line| line.contains("✓ three version 1 is live"));
}
