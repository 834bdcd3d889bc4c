//! A Slurm cluster on the loopback, for as long as a test runs: its own keys, configuration, state and ports in one
//! folder, one controller, and workers that die like machines.
//!
//! Every daemon is alone in a PID namespace of its own (`unshare --pid --kill-child`): with the daemon the kernel ends
//! whatever it has started, jobs that went into sessions of their own included. So killing a worker is one signal, as if
//! its power had failed, and nothing outlives the test: a panic drops the daemons, and where the test itself is
//! killed its parent-death signal ends them (`setpriv --pdeathsig`).

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The programs of Slurm and around it.
const NEEDED: &[&str] =
    &["slurmctld", "slurmd", "sbatch", "squeue", "sinfo", "scontrol", "munged", "unshare", "setpriv"];
/// Longest wait for daemons to answer: seconds on a quiet machine.
const LONGEST_START: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    folder: PathBuf,
    conf: PathBuf,
    start: Instant,
    /// Names and the processes that hold the daemons; in the order of their start.
    daemons: Vec<(String, Child)>,
}

/// Why no cluster can be started here; `None` if it can.
pub(crate) fn hindrance() -> Option<String> {
    let missing: Vec<&str> = NEEDED.iter().copied().filter(|name| !is_installed(name)).collect();
    if !missing.is_empty() {
        return Some(format!("not installed: {} (Debian: slurm-wlm and munge)", missing.join(", ")));
    }
    let namespaces = Command::new("unshare").args(["--uts", "--pid", "--mount-proc", "--fork", "true"]).output();
    match namespaces {
        Ok(done) if done.status.success() => None,
        Ok(done) => Some(format!("no namespaces, which need root: {}", String::from_utf8_lossy(&done.stderr).trim())),
        Err(e) => Some(format!("unshare: {e}")),
    }
}

fn is_installed(name: &str) -> bool {
    let folders = std::env::var("PATH").unwrap_or_default();
    let folders = folders.split(':').map(str::to_owned).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.into_iter().any(|folder| Path::new(&folder).join(name).is_file())
}

/// So many ports that nobody listens on.
fn free_ports<const N: usize>() -> [u16; N] {
    // Held all at once, so that they differ.
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    held.map(|listener| listener.local_addr().expect("address").port())
}

impl Cluster {
    /// Starts a controller and `workers` of one core each in `folder`, and waits until all are idle.
    pub(crate) fn start(folder: &Path, workers: &[&str]) -> Self {
        let mut cluster = Self {
            folder: folder.to_owned(),
            conf: folder.join("slurm.conf"),
            start: Instant::now(),
            daemons: Vec::new(),
        };
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("munged refuses folders it cannot enter");
        fs::create_dir(folder.join("state")).expect("folder");
        fs::write(&cluster.conf, cluster.configuration(workers)).expect("configuration");
        cluster.start_munge();
        cluster.daemon("slurmctld", None, &["slurmctld", "-D", "-c"]);
        for worker in workers {
            fs::create_dir(folder.join(format!("spool_{worker}"))).expect("folder");
            cluster.daemon(worker, Some(worker), &["slurmd", "-D", "-N", worker]);
        }
        let idle = |nodes: &[String]| nodes.iter().filter(|n| n.ends_with(" idle")).count() == workers.len();
        cluster.wait_for("all workers to be idle", LONGEST_START, |cluster| {
            cluster.asked("sinfo", &["-hN", "-o", "%N %T"]).filter(|nodes| idle(nodes))
        });
        cluster.log(&format!("{} workers are idle", workers.len()));
        cluster
    }

    /// One line with the seconds since the start.
    pub(crate) fn log(&self, what: &str) {
        eprintln!("{:7.2} s  {what}", self.start.elapsed().as_secs_f64());
    }

    fn configuration(&self, workers: &[&str]) -> String {
        let host = Command::new("hostname").arg("-s").output().expect("hostname runs");
        let host = String::from_utf8(host.stdout).expect("a name");
        let ports = free_ports::<8>();
        assert!(workers.len() < ports.len(), "ports");
        let folder = self.folder.display();
        let mut conf = format!(
            "ClusterName=subpel\nSlurmctldHost={}(127.0.0.1)\nSlurmctldPort={}\n\
             SlurmUser=root\nSlurmdUser=root\nAuthType=auth/munge\nCredType=cred/munge\n\
             AuthInfo=socket={folder}/munge.socket,cred_expire=10\n\
             StateSaveLocation={folder}/state\nSlurmdSpoolDir={folder}/spool_%n\n\
             SlurmctldPidFile={folder}/slurmctld.pid\nSlurmdPidFile={folder}/slurmd_%n.pid\n\
             SlurmctldLogFile={folder}/slurmctld.log\nSlurmdLogFile={folder}/slurmd_%n.log\n",
            host.trim(),
            ports[0]
        );
        // What is not there by default in a container, and times that suit a test: by default a lost worker is noticed
        // after 300 s, and its task starts 120 s later (cred_expire).
        conf += "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nJobAcctGatherType=jobacct_gather/none\n\
                 AccountingStorageType=accounting_storage/none\nSelectType=select/cons_tres\n\
                 SelectTypeParameters=CR_Core\nMpiDefault=none\nSwitchType=switch/none\nReturnToService=2\n\
                 SlurmdTimeout=5\nSlurmctldTimeout=10\nKillWait=5\nJobRequeue=1\n\
                 SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2\n\
                 SlurmdParameters=config_overrides\n";
        for (worker, port) in workers.iter().zip(&ports[1..]) {
            writeln!(conf, "NodeName={worker} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=8000").expect("text");
        }
        writeln!(conf, "PartitionName=test Nodes={} Default=YES MaxTime=INFINITE State=UP", workers.join(","))
            .expect("text");
        conf
    }

    /// What proves who someone is; with a key of its own.
    fn start_munge(&mut self) {
        let key: Vec<u8> = (0..128u8).map(|i| i ^ (std::process::id() as u8)).collect();
        let path = self.folder.join("munge.key");
        fs::write(&path, key).expect("key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("key");
        let option = |name: &str, file: &str| format!("--{name}={}/{file}", self.folder.display());
        let options = [
            option("key-file", "munge.key"),
            option("socket", "munge.socket"),
            option("pid-file", "munged.pid"),
            option("log-file", "munged.log"),
            option("seed-file", "munged.seed"),
        ];
        let words: Vec<&str> =
            ["munged", "--foreground"].into_iter().chain(options.iter().map(String::as_str)).collect();
        self.daemon("munged", None, &words);
        let socket = self.folder.join("munge.socket");
        self.wait_for("munged", LONGEST_START, |_| socket.exists().then_some(()));
    }

    /// Starts a daemon, under a host name of its own if one is given.
    fn daemon(&mut self, name: &str, host: Option<&str>, words: &[&str]) {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--uts", "--pid", "--mount-proc", "--fork", "--kill-child"]);
        // The name goes by the environment, the words as arguments: nothing is pasted into a command.
        command.args(["sh", "-c", "[ -z \"$HOST_NAME\" ] || hostname \"$HOST_NAME\"; exec \"$@\"", "sh"]).args(words);
        command.env("HOST_NAME", host.unwrap_or_default()).env("SLURM_CONF", &self.conf).env("PATH", path());
        let log = fs::File::create(self.folder.join(format!("{name}.out"))).expect("log");
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().expect("log")).stderr(log).spawn();
        self.daemons.push((name.to_owned(), child.expect("setpriv starts")));
    }

    /// Runs one of Slurm's commands in `folder`.
    pub(crate) fn command(&self, program: &str, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("SLURM_CONF", &self.conf).env("PATH", path()).current_dir(folder).stdin(Stdio::null());
        command
    }

    /// The lines that a command of Slurm prints; `None` if it fails, which it may while the controller is busy.
    pub(crate) fn asked(&self, program: &str, words: &[&str]) -> Option<Vec<String>> {
        let done = self.command(program, &self.folder).args(words).output().expect("a command of Slurm starts");
        let text = String::from_utf8_lossy(&done.stdout);
        done.status.success().then(|| text.lines().map(str::to_owned).collect())
    }

    /// Asks five times a second until there is an answer; shows what the daemons say if there is none for too long.
    #[track_caller]
    pub(crate) fn wait_for<T>(&self, what: &str, longest: Duration, mut ask: impl FnMut(&Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(answer) = ask(self) {
                return answer;
            }
            assert!(start.elapsed() < longest, "waited {longest:?} for {what}\n{}", self.last_words());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Kills a worker with all it has started, at once.
    pub(crate) fn kill(&mut self, name: &str) {
        let at = self.daemons.iter().position(|(known, _)| known == name).expect("a daemon of this cluster");
        let (_, mut child) = self.daemons.remove(at);
        // unshare's child is the first process of its namespace and dies with it, and all others with that.
        child.kill().expect("killed");
        child.wait().expect("gone");
        self.log(&format!("killed {name} (process {})", child.id()));
    }

    /// Lines of the controller's log that hold `part`.
    pub(crate) fn logged(&self, part: &str) -> Vec<String> {
        let text = fs::read(self.folder.join("slurmctld.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }

    /// The ends of all logs.
    fn last_words(&self) -> String {
        let mut words = String::new();
        for entry in fs::read_dir(&self.folder).expect("folder").flatten() {
            let path = entry.path();
            if !path.extension().is_some_and(|e| e == "log" || e == "out") {
                continue;
            }
            let text = fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            let end = lines[lines.len().saturating_sub(12)..].join("\n  ");
            write!(words, "--- {}\n  {end}\n", path.display()).expect("text");
        }
        words
    }
}

/// Daemons are not always where users look.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The controller first, so that it does not mourn its workers.
        for name in ["slurmctld", "munged"] {
            self.daemons.sort_by_key(|(known, _)| known != name);
        }
        for (_, mut child) in self.daemons.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
