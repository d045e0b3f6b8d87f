#!/usr/bin/env bash
# A real SLURM of two nodes, n1 and n2 with a core each, on this machine: for tests, and for trying hydra/launcher=slurm.
#   scripts/slurm-one-machine.sh start FOLDER   then: export SLURM_CONF=FOLDER/slurm.conf
#   scripts/slurm-one-machine.sh stop FOLDER
# Needs root and Debian's packages slurmctld, slurmd, slurm-client and munge; no systemd. All that it makes is in FOLDER,
# but for munge's key and its socket in /run/munge.
set -euo pipefail
command=${1:-} folder=${2:-}
if [[ ! $command =~ ^(start|stop)$ || -z $folder ]]; then
    echo "slurm-one-machine: arguments must be start FOLDER or stop FOLDER" >&2
    exit 2
fi

running() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

stop() {
    local name pid
    for name in n1 n2 slurmctld munged; do # munged has a file only where this script started it
        if running "$folder/$name.pid"; then
            pid=$(cat "$folder/$name.pid")
            kill "$pid"
            for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
            kill -9 "$pid" 2>/dev/null || true
        fi
    done
}

free_ports() {
    python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(each.getsockname()[1] for each in sockets))'
}

start() {
    mkdir -p "$folder/state" "$folder/spool.n1" "$folder/spool.n2"
    folder=$(cd "$folder" && pwd)
    if ! munge -n >/dev/null 2>&1; then
        mkdir -p /run/munge
        chown munge:munge /run/munge
        touch "$folder/munged.log" "$folder/munged.pid"
        chown munge:munge "$folder/munged.log" "$folder/munged.pid"
        runuser -u munge -- munged --force
        cat /run/munge/munged.pid >"$folder/munged.pid"
    fi
    local host controller first second
    host=$(hostname -s)
    read -r controller first second < <(free_ports)
    cat >"$folder/slurm.conf" <<CONF
ClusterName=one-machine
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$controller
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool.%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
KillWait=5
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$first CPUs=1 RealMemory=1000
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$second CPUs=1 RealMemory=1000
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
CONF
    export SLURM_CONF=$folder/slurm.conf
    slurmctld -f "$SLURM_CONF"
    slurmd -N n1 -f "$SLURM_CONF"
    slurmd -N n2 -f "$SLURM_CONF"
    for _ in $(seq 120); do
        if [ "$(sinfo --noheader --Node --format=%t 2>/dev/null | grep -c idle)" = 2 ]; then
            return
        fi
        sleep 0.5
    done
    echo "slurm-one-machine: the nodes are not idle within a minute; see the logs in $folder" >&2
    stop
    exit 1
}

"$command"
