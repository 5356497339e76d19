#!/usr/bin/env bash
# A Slurm of one node, this machine, for the tests. As root: Debian's slurm-wlm and munge.
set -euo pipefail

if ! command -v slurmctld > /dev/null; then
  apt-get update -qq && apt-get install -y -qq --no-install-recommends slurm-wlm munge > /dev/null
fi
sinfo -h -o %T 2> /dev/null | grep -qE "idle|mix|alloc" && exit 0

host=$(hostname -s)
cpus=$(nproc)
memory=$(($(awk '/MemTotal/ {print $2}' /proc/meminfo) / 1024 * 9 / 10))
mkdir -p /run/munge /var/lib/munge /var/log/munge /var/spool/slurmd /var/spool/slurmctld /etc/slurm
[ -f /etc/munge/munge.key ] || dd if=/dev/urandom of=/etc/munge/munge.key bs=1 count=1024 status=none
chown -R munge: /etc/munge /run/munge /var/lib/munge /var/log/munge
chmod 400 /etc/munge/munge.key
chmod 755 /run/munge
pgrep -x munged > /dev/null || runuser -u munge -- /usr/sbin/munged

cat > /etc/slurm/slurm.conf << CONF
ClusterName=test
SlurmctldHost=localhost($host)
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/var/log/slurmctld.log
SlurmdLogFile=/var/log/slurmd.log
ReturnToService=2
JobRequeue=1
KillWait=30
MinJobAge=300
SchedulerParameters=batch_sched_delay=0,sched_interval=2,requeue_delay=0
NodeName=localhost NodeHostname=$host CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=test Nodes=localhost Default=YES MaxTime=INFINITE State=UP
CONF
# Nothing here needs control groups, but slurmd of Debian 12 wants a plugin that it can load.
echo "CgroupPlugin=cgroup/v1" > /etc/slurm/cgroup.conf
pgrep -x slurmctld > /dev/null || slurmctld
pgrep -x slurmd > /dev/null || slurmd -N localhost
for _ in $(seq 30); do
  sinfo -h -o %T 2> /dev/null | grep -q idle && exit 0
  sleep 1
done
echo "Slurm did not come up" >&2
tail -n 20 /var/log/slurmctld.log /var/log/slurmd.log >&2
exit 1
