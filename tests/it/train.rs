//! `tickcast train` as a person stops it and lets it go on.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::support::process::{run, tickcast};

/// A configuration over a written history, with more epochs than anybody waits for.
fn configuration(folder: &Path) -> PathBuf {
    let history: String = (0..200)
        .map(|day| {
            let rain = f64::from(day * day % 7);
            format!("2001-{:02}-{:02},{rain}\n", 1 + day / 28, 1 + day % 28)
        })
        .collect();
    fs::write(folder.join("rain.csv"), format!("day,rain\n{history}")).unwrap();
    let path = folder.join("train.toml");
    let text = format!(
        "[model]\nname = 'rain'\nroot = '{0}/models'\n\
         [data]\npath = '{0}/rain.csv'\ncolumns = 'time=day,rain=rain'\nsymbol = 'S'\n\
         [window]\nsteps = 5\nfeatures = ['rain']\nextra_fields = ['rain']\n\
         [target]\nkind = 'next_event'\nfield = 'rain'\nabove = 2.5\n\
         [network]\nlstm = [{{ units = 4 }}]\n\
         dense = [{{ units = 1, activation = 'sigmoid' }}]\n\
         [report]\nfolder = ''\n\
         [fit]\nepochs_max = 1000000\npatience = 1000000\nwork = '{0}/work'\n",
        folder.display()
    );
    fs::write(&path, text).unwrap();
    path
}

/// Starts a fit and waits until `epochs` of it are told.
fn started(configuration: &Path, epochs: usize) -> Child {
    let mut command = tickcast();
    command.args(["train", "-c"]).arg(configuration).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = child.stderr.take().unwrap();
    let mut lines = BufReader::new(stderr).lines();
    let wanted = format!("epoch {epochs} of ");
    lines.find(|line| line.as_ref().unwrap().starts_with(&wanted)).unwrap().unwrap();
    // Read on, so that the fit never waits for us.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(status.unwrap().success());
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_first_interrupt_seals_the_best_epoch_and_resume_goes_on() {
    let folder = TempDir::new().unwrap();
    let configuration = configuration(folder.path());
    let child = started(&configuration, 3);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("stopped on request"), "{}", text(&output));
    assert!(folder.path().join("models/rain/1/manifest.json").exists());

    // One epoch at most, which the checkpoint has behind it: the fit ends at once.
    let shorter = fs::read_to_string(&configuration).unwrap().replace("1000000", "1");
    fs::write(&configuration, shorter).unwrap();
    let arguments = ["train", "--resume", "-c", configuration.to_str().unwrap()];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("0 of them now"), "{}", text(&output));
    assert!(folder.path().join("models/rain/2/manifest.json").exists());

    // That fit ended by itself and took the checkpoint along.
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(78), "{}", text(&output));
    assert!(text(&output).contains("rain.checkpoint`: read: "), "{}", text(&output));
}
