//! The gate, as it is released, and nginx before it and before nothing.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use preau::parts::{Failure, Processes, free};

use super::http::{Ask, Connection};
use super::{POOL, REGION};

/// The gate's name as a holder, and as a process.
const GATE: &str = "gate";
const NGINX: &str = "nginx";
const START_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What nginx says of its version, after which it goes on with how it was built.
const VERSION: &str = "nginx version: ";

/// Both, and where they are.
pub struct Servers {
    pub processes: Processes,
    pub gate: String,
    /// nginx: what it answers at `/gated` the gate has let through, and at `/let` an empty answer has.
    pub nginx: String,
}

impl Servers {
    /// Starts both in `dir`. Connections idle for as long as the run takes.
    pub async fn start(preau: &Path, dir: &Path, nodes: &[String]) -> Result<Self, Failure> {
        let [listen, admin, nginx, empty] = free::<4>()?;
        let write = |name: &str, text: String| {
            let path = dir.join(name);
            std::fs::write(&path, text)
                .map(|()| path.clone())
                .map_err(|e| Failure::operation(format!("{}: {e}", path.display())))
        };
        let nodes: Vec<String> = nodes.iter().map(|node| format!("{node:?}")).collect();
        let config = format!(
            "pool = {POOL:?}\nregion = {REGION:?}\nname = {GATE:?}\nnodes = [{}]\nlisten = \"{listen}\"\n\
             admin = \"{admin}\"\nsilence_s = 3600\n[cookie]\nsecure = false\n[limits]\nheader_s = 600\n",
            nodes.join(", ")
        );
        let mut processes = Processes::default();
        let mut command = Command::new(preau);
        command
            .args(["gate", "--log-filter", "warn", "--config"])
            .arg(write("gate.toml", config)?);
        processes.start(GATE, command, dir.join("gate.log"))?;
        let config = write(
            "nginx.conf",
            conf(
                dir,
                &listen.to_string(),
                &nginx.to_string(),
                &empty.to_string(),
            ),
        )?;
        let mut command = Command::new(NGINX);
        command
            .arg("-e")
            .arg(dir.join("nginx-error.log"))
            .arg("-c")
            .arg(config);
        processes.start(NGINX, command, dir.join("nginx.log"))?;
        let mut servers = Self {
            processes,
            gate: listen.to_string(),
            nginx: nginx.to_string(),
        };
        servers.wait(&admin.to_string()).await?;
        Ok(servers)
    }

    /// Until the coordinator has granted the gate a lease, and nginx answers.
    async fn wait(&mut self, admin: &str) -> Result<(), Failure> {
        let end = Instant::now() + START_WITHIN;
        let (mut gate, mut nginx) = (Connection::new(admin), Connection::new(&self.nginx));
        let ask = |path| Ask {
            method: "GET",
            path,
            from: 0,
            header: None,
        };
        loop {
            let ready = gate
                .ask(ask("/readyz"))
                .await
                .is_ok_and(|answer| answer.status == 200);
            if ready
                && nginx
                    .ask(ask("/let"))
                    .await
                    .is_ok_and(|answer| answer.status == 200)
            {
                return Ok(());
            }
            self.processes.check()?;
            if Instant::now() > end {
                let why = format!("the gate and nginx are not ready after {START_WITHIN:.0?}");
                return Err(Failure::operation(why));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The gate's process.
    pub fn pid(&self) -> Result<u32, Failure> {
        let pid = self.processes.pid(GATE);
        pid.ok_or_else(|| Failure::operation("the gate does not run"))
    }
}

/// What nginx is told: one worker, as the gate has one core to itself beside the load at best.
fn conf(dir: &Path, gate: &str, listen: &str, empty: &str) -> String {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let dir = dir.display();
    let paths: String = temporary
        .iter()
        .map(|kind| format!("{kind}_temp_path {dir}/{kind};\n"))
        .collect();
    let let_through = |name: &str, upstream: &str, path: &str| {
        format!(
            "location = /{name} {{ auth_request /ask-{name}; empty_gif; }}\n\
             location = /ask-{name} {{ internal; proxy_pass http://{upstream}{path}; proxy_pass_request_body off; \
             proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Content-Length \"\"; \
             proxy_set_header Host $host; proxy_set_header X-Forwarded-For $http_x_forwarded_for; \
             proxy_set_header X-Original-URI $request_uri; }}\n"
        )
    };
    format!(
        "daemon off;\nmaster_process off;\npid {dir}/nginx.pid;\nevents {{ worker_connections 4096; }}\n\
         http {{\naccess_log off;\nkeepalive_timeout 600;\nkeepalive_requests 1000000000;\n{paths}\
         upstream gate {{ server {gate}; keepalive 64; keepalive_requests 1000000000; keepalive_timeout 600; }}\n\
         upstream empty {{ server {empty}; keepalive 64; keepalive_requests 1000000000; keepalive_timeout 600; }}\n\
         server {{ listen {empty}; location / {{ return 204; }} }}\n\
         server {{\nlisten {listen};\n{}{}}}\n}}\n",
        let_through("gated", "gate", "/preau/auth"),
        let_through("let", "empty", "/"),
    )
}

/// What nginx says of its version; or what to do where it is not there.
pub fn version() -> Result<String, Failure> {
    let output = Command::new(NGINX).arg("-v").output().map_err(|error| {
        Failure::usage(format!(
            "can't run {NGINX} ({error}): apt-get install {NGINX}"
        ))
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().next().unwrap_or_default();
    Ok(line.strip_prefix(VERSION).unwrap_or(line).to_owned())
}
