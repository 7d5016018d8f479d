//! Throughput and round trip between two namespaces of this machine, measured with iperf3: plain
//! veth, this engine, and wireguard-go where it is installed, as ratios of one another.
//!
//! `cargo run --release -p skep-agent-wireguard --example throughput [seconds]`, as root.

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::{Command, Stdio};
use std::time::Instant;

use support::{Host, Hosts, Running, eventually, hosts, mesh};

/// One row of the table.
struct Row {
    name: &'static str,
    one: f64,
    four: f64,
    udp: f64,
    rtt_us: f64,
    cpu_per_gbit: f64,
}

fn main() {
    let seconds = std::env::args().nth(1).and_then(|s| s.parse().ok());
    let seconds: u32 = seconds.unwrap_or(4);
    let mut rows = Vec::new();
    {
        let hosts = hosts(2);
        let to = hosts.hosts[1].underlay().to_string();
        rows.push(measure("plain veth", &hosts, &to, seconds, &[]));
    }
    {
        let (hosts, engines) = mesh(2);
        let to = hosts.hosts[1].overlay();
        rows.push(measure(
            "skep engine",
            &hosts,
            &to,
            seconds,
            &[std::process::id()],
        ));
        for engine in &engines {
            eprintln!("{:?} {:?}", engine.engine_stats(), engine.stats());
        }
    }
    match wireguard_go(seconds) {
        Some(row) => rows.push(row),
        None => eprintln!("wireguard-go or wireguard-tools is not installed: left out"),
    }
    let plain = rows[0].one;
    println!(
        "{:<14} {:>12} {:>12} {:>14} {:>10} {:>12} {:>9}",
        "", "TCP 1 Gbit/s", "TCP 4 Gbit/s", "UDP recv Gbit/s", "RTT us", "CPU-s/Gbit", "of plain"
    );
    for row in &rows {
        println!(
            "{:<14} {:>12.2} {:>12.2} {:>14.2} {:>10.0} {:>12.2} {:>9.2}",
            row.name,
            row.one,
            row.four,
            row.udp,
            row.rtt_us,
            row.cpu_per_gbit,
            row.one / plain
        );
    }
}

/// `daemons` are the processes that carry the packets: their CPU time is less moved by what else
/// the machine does than the throughput is.
fn measure(name: &'static str, hosts: &Hosts, to: &str, seconds: u32, daemons: &[u32]) -> Row {
    let [a, b] = &hosts.hosts[..] else {
        panic!("two")
    };
    assert!(a.ns.pings(to, 56), "{name} does not carry packets");
    let mut server = Command::new("iperf3");
    server.args(["-s", "-p", "5201"]).stdout(Stdio::null());
    let _server: Running = b.ns.spawn(&mut server);
    eventually("iperf3 listens", || {
        let listening = |table: &str| {
            table
                .lines()
                .any(|line| line.contains(":1451 ") && line.contains(" 0A "))
        };
        b.ns.run(|| {
            ["tcp", "tcp6"].iter().any(|name| {
                std::fs::read_to_string(format!("/proc/thread-self/net/{name}"))
                    .is_ok_and(|table| listening(&table))
            })
        })
    });
    let cpu = cpu_seconds(daemons);
    let (one, gbit) = iperf(a, to, &format!("-t {seconds}"));
    let cpu_per_gbit = (cpu_seconds(daemons) - cpu) / gbit;
    let (four, _) = iperf(a, to, &format!("-t {seconds} -P 4"));
    let (udp, _) = iperf(a, to, &format!("-t {seconds} -u -b 0 -l 1320"));
    Row {
        name,
        one,
        four,
        udp,
        rtt_us: round_trip(a, b, to),
        cpu_per_gbit,
    }
}

/// Received Gbit/s, and Gbit received in all.
fn iperf(from: &Host, to: &str, arguments: &str) -> (f64, f64) {
    let arguments = format!("-J -c {to} -p 5201 {arguments}");
    // The server takes a moment between two tests.
    let run = || {
        let output = from.ns.output("iperf3", &arguments);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mut text = run();
    for _ in 0..3 {
        if !text.contains("\"error\"") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
        text = run();
    }
    // Small enough a need to go without a JSON parser: the last sum with what was received.
    let at = text
        .rfind("\"sum_received\"")
        .or_else(|| text.rfind("\"sum\""));
    let sum = &text[at.unwrap_or_else(|| panic!("iperf3: {text}"))..];
    let number = |name: &str| -> f64 {
        let at = sum.find(name).unwrap_or_else(|| panic!("{name} in {sum}"));
        let value = sum[at + name.len()..].trim_start_matches(['"', ':', ' ', '\t']);
        let end = value.find([',', '\n']).expect("an end");
        value[..end].trim().parse().expect("a number")
    };
    let lost = match sum.find("\"lost_percent\"") {
        Some(_) if arguments.contains("-u") => number("lost_percent") / 100.0,
        _ => 0.0,
    };
    let rate = number("bits_per_second") / 1e9 * (1.0 - lost);
    (rate, number("bytes") * 8.0 / 1e9)
}

/// The median of TCP round trips with one byte each, in microseconds.
fn round_trip(a: &Host, b: &Host, to: &str) -> f64 {
    use std::io::{Read, Write};
    let listener =
        b.ns.run(|| std::net::TcpListener::bind((to, 0)).expect("listen"));
    let address = listener.local_addr().expect("it is bound");
    let mut stream =
        a.ns.run(|| std::net::TcpStream::connect(address).expect("connect"));
    let (mut far, _) = listener.accept().expect("accept");
    for side in [&stream, &far] {
        side.set_nodelay(true).expect("no delay");
    }
    let echo = std::thread::spawn(move || {
        let mut byte = [0];
        while far.read_exact(&mut byte).is_ok() && far.write_all(&byte).is_ok() {}
    });
    let mut times = Vec::new();
    let mut byte = [1];
    for _ in 0..3000 {
        let start = Instant::now();
        stream.write_all(&byte).expect("send");
        stream.read_exact(&mut byte).expect("receive");
        times.push(start.elapsed());
    }
    drop(stream);
    echo.join().expect("the echo ends well");
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}

/// CPU seconds these processes have spent, in user and kernel mode.
fn cpu_seconds(processes: &[u32]) -> f64 {
    let spent = |process: &u32| -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("procfs");
        let (_, after_name) = stat.rsplit_once(')').expect("a name in brackets");
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks = |field: usize| fields[field].parse::<f64>().expect("a number");
        (ticks(11) + ticks(12)) / 100.0
    };
    processes.iter().map(spent).sum()
}

fn wireguard_go(seconds: u32) -> Option<Row> {
    let path = std::env::var_os("PATH")?;
    let found =
        |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !found("wireguard-go") || !found("wg") {
        return None;
    }
    let hosts = hosts(2);
    let names: Vec<String> = (1..=2)
        .map(|n| format!("skept{}x{n}", std::process::id() % 100_000))
        .collect();
    let running: Vec<Running> = hosts
        .hosts
        .iter()
        .zip(&names)
        .map(|(host, name)| {
            let mut command = Command::new("wireguard-go");
            command
                .args(["-f", name])
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            host.ns.spawn(&mut command)
        })
        .collect();
    for (at, host) in hosts.hosts.iter().enumerate() {
        let socket = format!("/var/run/wireguard/{}.sock", names[at]);
        eventually("wireguard-go listens", || {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        let other = &hosts.hosts[1 - at];
        let hex = |key: &[u8; 32]| key.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let request = format!(
            "set=1\nprivate_key={}\nlisten_port=51820\npublic_key={}\nendpoint={}:51820\nallowed_ip={}/32\n\n",
            hex(&host.key),
            hex(&other.public()),
            other.underlay(),
            other.overlay()
        );
        use std::io::{Read, Write};
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).expect("connect");
        stream.write_all(request.as_bytes()).expect("configure");
        let mut answer = [0; 64];
        let length = stream.read(&mut answer).expect("an answer");
        assert!(
            answer[..length].starts_with(b"errno=0"),
            "wireguard-go refuses"
        );
        host.ns.ip(&format!("link set {} mtu 1420 up", names[at]));
        host.address(&names[at]);
    }
    let to = hosts.hosts[1].overlay();
    let daemons: Vec<u32> = running.iter().map(|running| running.0.id()).collect();
    let row = measure("wireguard-go", &hosts, &to, seconds, &daemons);
    for name in &names {
        let _ = std::fs::remove_file(format!("/var/run/wireguard/{name}.sock"));
    }
    Some(row)
}
