//! All words of keepalived.conf that are known, with the answer to each.

use crate::import::keywords::{
    Answer::{self, Honoured, Noted, Refused, Warned},
    Keyword, TOP,
};

const fn k(section: &'static str, name: &'static str, answer: Answer) -> Keyword {
    Keyword { section, name, answer }
}

/// Whether a word begins a block that stands outside of all others, and nowhere else.
pub(super) fn is_top(name: &str) -> bool {
    let mut known = TABLE.iter().filter(|word| word.name == name).peekable();
    known.peek().is_some() && known.all(|word| word.section == TOP)
}

const MAIL: &str = "no mail is sent; `notify` commands, events and metrics tell of changes";
const PROCESS: &str = "Highgate's processes have their own priorities, memory locks and names";
const IPVS: &str = "balancing in the kernel (IPVS) is not available: write a listener in tcp mode, natively or in haproxy.cfg";
const ROUTES: &str = "routes and rules do not move with an address yet";
const BFD: &str = "BFD is not available";
const FIFO: &str = "FIFOs are not available: use `notify`";
const IPVLAN: &str = "ipvlan is not available: leave it out";
const POLLING: &str = "the kernel tells when a link changes; nothing is polled";
const LOADED: &str = "this table of the kernel is not used";
const STRICT: &str =
    "the rules of the RFC are checked in any case, and no firewall rule blocks the address";
const SYNC_DAEMON: &str = "the connections of IPVS are not synchronised";
const STATIC: &str =
    "addresses and routes that do not move belong to the network's configuration of the host";

const GLOBAL: &str = "global_defs";
const SCRIPT: &str = "vrrp_script";
const INSTANCE: &str = "vrrp_instance";
const AUTH: &str = "authentication";
const GROUP: &str = "vrrp_sync_group";
const FILE: &str = "vrrp_track_file";
const PROC: &str = "vrrp_track_process";
/// What may follow an address.
pub(super) const ADDRESS: &str = "virtual_ipaddress";

pub(crate) const TABLE: &[Keyword] = &[
    k(TOP, "global_defs", Honoured("defaults of the vips")),
    k(
        TOP,
        "include",
        Honoured("the files are read here; a file that must be there and is not is an error"),
    ),
    k(TOP, "vrrp_instance", Honoured("`[[vip]]`")),
    k(TOP, "vrrp_script", Honoured("`[[script]]`")),
    k(TOP, "vrrp_sync_group", Honoured("`[[vip_group]]`")),
    k(TOP, "vrrp_track_file", Honoured("`track = \"file PATH\"`")),
    k(TOP, "track_file", Honoured("`track = \"file PATH\"`")),
    k(TOP, "vrrp_track_process", Honoured("`[[process]]`")),
    k(TOP, "track_process", Honoured("`[[process]]`")),
    k(
        TOP,
        "$NAME=value",
        Honoured(
            "a definition, used as `$NAME` or `${NAME}`; over several lines with a backslash at each end",
        ),
    ),
    k(
        TOP,
        "@NAME, @^NAME",
        Honoured("a condition: the line holds where `--node` is, or is not, this name"),
    ),
    k(TOP, "~SEQ, ~LST", Refused("write the lines out")),
    k(TOP, "static_ipaddress", Refused(STATIC)),
    k(TOP, "static_routes", Refused(STATIC)),
    k(TOP, "static_rules", Refused(STATIC)),
    k(TOP, "track_group", Refused(STATIC)),
    k(TOP, "virtual_server", Refused(IPVS)),
    k(TOP, "virtual_server_group", Refused(IPVS)),
    k(TOP, "local_address_group", Refused(IPVS)),
    k(TOP, "SSL", Refused(IPVS)),
    k(TOP, "bfd_instance", Refused(BFD)),
    k(
        TOP,
        "garp_group",
        Refused("set `vrrp_garp_interval` and `vrrp_gna_interval` in `global_defs`"),
    ),
    k(TOP, "interface_up_down_delays", Refused("links are followed at once")),
    k(
        TOP,
        "net_namespace",
        Refused("start Highgate within the namespace: `ip netns exec NAME highgate run …`"),
    ),
    k(TOP, "namespace_with_ipsets", Noted(LOADED)),
    k(TOP, "instance", Noted("several processes have their data directories: `--data-dir`")),
    k(TOP, "use_pid_dir", Noted("several processes have their data directories: `--data-dir`")),
    k(TOP, "linkbeat_use_polling", Noted(POLLING)),
    k(TOP, "linkbeat_interfaces", Noted(POLLING)),
    k(TOP, "child_wait_time", Noted(PROCESS)),
    // global_defs
    k(GLOBAL, "default_interface", Honoured("`interface` of a vip that names none")),
    k(GLOBAL, "script_user", Honoured("`user` of scripts and notify commands that name none")),
    k(GLOBAL, "vrrp_version", Honoured("`version`")),
    k(GLOBAL, "vrrp_garp_master_delay", Honoured("`announce.delay`")),
    k(GLOBAL, "vrrp_garp_master_repeat", Honoured("`announce.count`")),
    k(GLOBAL, "vrrp_garp_master_refresh", Honoured("`announce.refresh`")),
    k(GLOBAL, "vrrp_garp_master_refresh_repeat", Honoured("`announce.refresh_count`")),
    k(GLOBAL, "vrrp_garp_lower_prio_delay", Honoured("`announce.lower_delay`")),
    k(GLOBAL, "vrrp_garp_lower_prio_repeat", Honoured("`announce.lower_count`")),
    k(GLOBAL, "vrrp_garp_interval", Honoured("`announce.arp_interval`")),
    k(GLOBAL, "vrrp_gna_interval", Honoured("`announce.na_interval`")),
    k(GLOBAL, "vrrp_down_timer_adverts", Honoured("`down_timer_adverts`")),
    k(GLOBAL, "vrrp_startup_delay", Honoured("`startup_delay`")),
    k(GLOBAL, "vrrp_lower_prio_no_advert", Honoured("`answer_lower = false`")),
    k(GLOBAL, "vrrp_higher_prio_send_advert", Honoured("`answer_higher`")),
    k(GLOBAL, "vrrp_check_unicast_src", Honoured("`only_from_peers`")),
    k(GLOBAL, "vrrp_mcast_group4", Honoured("`multicast_group` of vips with IPv4")),
    k(GLOBAL, "vrrp_mcast_group6", Honoured("`multicast_group` of vips with IPv6")),
    k(
        GLOBAL,
        "router_id",
        Noted("it names the machine in mails; a node has its name from `--node`"),
    ),
    k(
        GLOBAL,
        "vrrp_iptables",
        Noted(
            "packets are dropped by nftables where `no_accept` or a virtual interface asks for it",
        ),
    ),
    k(GLOBAL, "vrrp_ipsets", Noted(LOADED)),
    k(
        GLOBAL,
        "nftables",
        Noted(
            "packets are dropped by nftables where `no_accept` or a virtual interface asks for it",
        ),
    ),
    k(GLOBAL, "nftables_priority", Warned("the rules of nftables have a fixed priority")),
    k(GLOBAL, "nftables_counters", Noted("counters are in the metrics")),
    k(GLOBAL, "nftables_ifindex", Noted(LOADED)),
    k(GLOBAL, "vrrp_strict", Warned(STRICT)),
    k(
        GLOBAL,
        "vrrp_skip_check_adv_addr",
        Noted("comparing the addresses of an advertisement costs nothing here"),
    ),
    k(GLOBAL, "enable_script_security", Honoured("`script_security`")),
    k(GLOBAL, "dynamic_interfaces", Noted("a vip waits for its interface in any case")),
    k(GLOBAL, "vrrp_garp_extra_if", Warned("addresses are announced on their own interface only")),
    k(GLOBAL, "garp_extra_if", Warned("addresses are announced on their own interface only")),
    k(GLOBAL, "notification_email", Warned(MAIL)),
    k(GLOBAL, "notification_email_from", Warned(MAIL)),
    k(GLOBAL, "smtp_server", Warned(MAIL)),
    k(GLOBAL, "smtp_helo_name", Warned(MAIL)),
    k(GLOBAL, "smtp_connect_timeout", Warned(MAIL)),
    k(GLOBAL, "smtp_alert", Warned(MAIL)),
    k(GLOBAL, "smtp_alert_vrrp", Warned(MAIL)),
    k(GLOBAL, "smtp_alert_checker", Warned(MAIL)),
    k(GLOBAL, "no_email_faults", Noted(MAIL)),
    k(GLOBAL, "email_faults", Warned(MAIL)),
    k(GLOBAL, "notify_fifo", Refused(FIFO)),
    k(GLOBAL, "notify_fifo_script", Refused(FIFO)),
    k(GLOBAL, "vrrp_notify_fifo", Refused(FIFO)),
    k(GLOBAL, "vrrp_notify_fifo_script", Refused(FIFO)),
    k(GLOBAL, "lvs_notify_fifo", Noted(IPVS)),
    k(GLOBAL, "lvs_notify_fifo_script", Noted(IPVS)),
    k(GLOBAL, "vrrp_notify_priority_changes", Noted(FIFO)),
    k(GLOBAL, "startup_script", Refused("start it from the service manager")),
    k(GLOBAL, "startup_script_timeout", Refused("start it from the service manager")),
    k(GLOBAL, "shutdown_script", Refused("start it from the service manager")),
    k(GLOBAL, "shutdown_script_timeout", Refused("start it from the service manager")),
    k(GLOBAL, "vrrp_priority", Noted(PROCESS)),
    k(GLOBAL, "vrrp_no_swap", Noted(PROCESS)),
    k(GLOBAL, "vrrp_rt_priority", Noted(PROCESS)),
    k(GLOBAL, "vrrp_rlimit_rttime", Noted(PROCESS)),
    k(GLOBAL, "vrrp_cpu_affinity", Noted(PROCESS)),
    k(GLOBAL, "vrrp_process_name", Noted(PROCESS)),
    k(GLOBAL, "process_names", Noted(PROCESS)),
    k(GLOBAL, "process_name", Noted(PROCESS)),
    k(GLOBAL, "max_auto_priority", Noted(PROCESS)),
    k(GLOBAL, "min_auto_priority_delay", Noted(PROCESS)),
    k(GLOBAL, "checker_priority", Noted(PROCESS)),
    k(GLOBAL, "checker_no_swap", Noted(PROCESS)),
    k(GLOBAL, "checker_rt_priority", Noted(PROCESS)),
    k(GLOBAL, "bfd_priority", Noted(PROCESS)),
    k(GLOBAL, "bfd_no_swap", Noted(PROCESS)),
    k(GLOBAL, "bfd_rt_priority", Noted(PROCESS)),
    k(GLOBAL, "vrrp_netlink_cmd_rcv_bufs", Noted(PROCESS)),
    k(GLOBAL, "vrrp_netlink_monitor_rcv_bufs", Noted(PROCESS)),
    k(GLOBAL, "vrrp_rx_bufs_policy", Noted(PROCESS)),
    k(GLOBAL, "vrrp_rx_bufs_multiplier", Noted(PROCESS)),
    k(GLOBAL, "rs_init_notifies", Noted(IPVS)),
    k(GLOBAL, "no_checker_emails", Noted(MAIL)),
    k(GLOBAL, "lvs_flush", Noted(IPVS)),
    k(GLOBAL, "lvs_flush_onstop", Noted(IPVS)),
    k(GLOBAL, "lvs_sync_daemon", Refused(SYNC_DAEMON)),
    k(GLOBAL, "lvs_timeouts", Noted(IPVS)),
    k(GLOBAL, "disable_local_igmp", Noted("groups are joined where `interface` needs them")),
    k(GLOBAL, "vrrp_min_garp", Noted("`announce.count` says how many there are")),
    k(
        GLOBAL,
        "vrrp_iface_promote_secondaries",
        Warned("set net.ipv4.conf.*.promote_secondaries by sysctl"),
    ),
    k(GLOBAL, "reload_check_config", Noted("a file with a mistake changes nothing in any case")),
    k(GLOBAL, "reload_time_file", Refused("a reload has no date: use `highgate apply`")),
    k(GLOBAL, "reload_repeat", Refused("a reload has no date: use `highgate apply`")),
    k(GLOBAL, "reload_file", Refused("use `highgate apply`")),
    k(GLOBAL, "include_check", Noted("an included file that must be there and is not is an error")),
    k(GLOBAL, "enable_traps", Warned("SNMP is not available: use the metrics")),
    k(GLOBAL, "snmp_socket", Warned("SNMP is not available: use the metrics")),
    k(GLOBAL, "enable_snmp_vrrp", Warned("SNMP is not available: use the metrics")),
    k(GLOBAL, "enable_snmp_rfc", Warned("SNMP is not available: use the metrics")),
    k(GLOBAL, "enable_snmp_checker", Warned("SNMP is not available: use the metrics")),
    k(GLOBAL, "enable_dbus", Warned("D-Bus is not available: use `highgate ctl` and the metrics")),
    k(
        GLOBAL,
        "dbus_service_name",
        Noted("D-Bus is not available: use `highgate ctl` and the metrics"),
    ),
    k(
        GLOBAL,
        "net_namespace",
        Refused("start Highgate within the namespace: `ip netns exec NAME highgate run …`"),
    ),
    k(GLOBAL, "tmp_config_directory", Noted("no copy of the configuration is made")),
    k(GLOBAL, "config_save_dir", Noted("what is in force is kept in the data directory")),
    k(GLOBAL, "data_use_instance", Noted("`highgate ctl` shows the data")),
    k(GLOBAL, "umask", Noted("files of Highgate are readable by its account only")),
    // vrrp_script
    k(
        SCRIPT,
        "script",
        Honoured(
            "`command`; where this process has listeners, `pidof haproxy`, `killall -0 haproxy`, `systemctl is-active haproxy` and the like become `track = \"serving\"`",
        ),
    ),
    k(SCRIPT, "interval", Honoured("`interval`, in seconds; 0 is an error")),
    k(SCRIPT, "timeout", Honoured("`timeout`, in seconds")),
    k(
        SCRIPT,
        "weight",
        Honoured(
            "the weight where the script is tracked; without one, a failure takes the address away",
        ),
    ),
    k(SCRIPT, "rise", Honoured("`rise`")),
    k(SCRIPT, "fall", Honoured("`fall`")),
    k(SCRIPT, "user", Honoured("`user`, as `user:group`")),
    k(SCRIPT, "init_fail", Honoured("`starts_failed`")),
    // vrrp_instance
    k(
        INSTANCE,
        "state",
        Honoured(
            "looked at, not kept: with Keepalived, too, every vip begins as backup and the priorities decide",
        ),
    ),
    k(INSTANCE, "interface", Honoured("`interface`")),
    k(INSTANCE, "virtual_router_id", Honoured("`router_id`")),
    k(INSTANCE, "priority", Honoured("`priority`; what is out of range is an error")),
    k(INSTANCE, "advert_int", Honoured("`interval`, in seconds; a fraction needs version 3")),
    k(INSTANCE, "authentication", Honoured("a block")),
    k(INSTANCE, "virtual_ipaddress", Honoured("`addresses`")),
    k(INSTANCE, "virtual_ipaddress_excluded", Honoured("`excluded_addresses`")),
    k(INSTANCE, "track_script", Honoured("`track = \"script NAME\"`")),
    k(INSTANCE, "track_interface", Honoured("`track = \"interface NAME\"`")),
    k(INSTANCE, "track_file", Honoured("`track = \"file PATH\"`")),
    k(INSTANCE, "track_process", Honoured("`track = \"process NAME\"`")),
    k(INSTANCE, "dont_track_primary", Honoured("`track_interface = false`")),
    k(
        INSTANCE,
        "nopreempt",
        Honoured("`preempt = false`; with `state MASTER` an error, where Keepalived drops it"),
    ),
    k(INSTANCE, "preempt", Honoured("`preempt = true`")),
    k(
        INSTANCE,
        "preempt_delay",
        Honoured("`preempt_delay`, in seconds; with `state MASTER` an error"),
    ),
    k(INSTANCE, "unicast_src_ip", Honoured("`source`")),
    k(INSTANCE, "mcast_src_ip", Honoured("`source`")),
    k(INSTANCE, "mcast_dst_ip", Honoured("`multicast_group`")),
    k(INSTANCE, "unicast_peer", Honoured("`peers`")),
    k(INSTANCE, "unicast_ttl", Honoured("`unicast_ttl`")),
    k(INSTANCE, "check_unicast_src", Honoured("`only_from_peers`")),
    k(INSTANCE, "use_vmac", Honoured("`vmac.enabled` and `vmac.name`")),
    k(INSTANCE, "vmac_xmit_base", Honoured("`vmac.transmit_base`")),
    k(INSTANCE, "garp_master_delay", Honoured("`announce.delay`")),
    k(INSTANCE, "garp_master_repeat", Honoured("`announce.count`")),
    k(INSTANCE, "garp_master_refresh", Honoured("`announce.refresh`")),
    k(INSTANCE, "garp_master_refresh_repeat", Honoured("`announce.refresh_count`")),
    k(INSTANCE, "garp_lower_prio_delay", Honoured("`announce.lower_delay`")),
    k(INSTANCE, "garp_lower_prio_repeat", Honoured("`announce.lower_count`")),
    k(INSTANCE, "lower_prio_no_advert", Honoured("`answer_lower = false`")),
    k(INSTANCE, "higher_prio_send_advert", Honoured("`answer_higher`")),
    k(INSTANCE, "down_timer_adverts", Honoured("`down_timer_adverts`")),
    k(INSTANCE, "version", Honoured("`version`")),
    k(INSTANCE, "accept", Honoured("`accept = true`")),
    k(INSTANCE, "no_accept", Honoured("`accept = false`")),
    k(INSTANCE, "notify_master", Honoured("`notify.active`")),
    k(INSTANCE, "notify_backup", Honoured("`notify.backup`")),
    k(INSTANCE, "notify_fault", Honoured("`notify.fault`")),
    k(INSTANCE, "notify_stop", Honoured("`notify.stop`")),
    k(INSTANCE, "notify_master_rx_lower_pri", Honoured("`notify.lower`")),
    k(INSTANCE, "notify", Honoured("`notify.any`, with the four arguments of Keepalived")),
    k(
        INSTANCE,
        "notify_deleted",
        Warned(
            "it is never run: a vip that is taken out of the file stops, and `notify_stop` is run",
        ),
    ),
    k(INSTANCE, "notify_priority_changes", Noted(FIFO)),
    k(INSTANCE, "smtp_alert", Warned(MAIL)),
    k(INSTANCE, "virtual_routes", Refused(ROUTES)),
    k(INSTANCE, "virtual_rules", Refused(ROUTES)),
    k(INSTANCE, "track_bfd", Refused(BFD)),
    k(
        INSTANCE,
        "track_src_ip",
        Warned("advertisements stop where the source address is not there"),
    ),
    k(INSTANCE, "use_ipvlan", Refused(IPVLAN)),
    k(INSTANCE, "vmac_addr_prefix", Warned("the virtual interface has no address of its own")),
    k(INSTANCE, "strict_mode", Warned(STRICT)),
    k(
        INSTANCE,
        "skip_check_adv_addr",
        Noted("comparing the addresses of an advertisement costs nothing here"),
    ),
    k(
        INSTANCE,
        "old_unicast_checksum",
        Refused("only Keepalived before 1.3.7 sends such checksums with version 3; update it"),
    ),
    k(
        INSTANCE,
        "unicast_fault_no_peer",
        Noted("`unicast_peer` without a peer is an error in any case"),
    ),
    k(INSTANCE, "garp_extra_if", Warned("addresses are announced on their own interface only")),
    k(INSTANCE, "linkbeat_use_polling", Noted(POLLING)),
    k(INSTANCE, "promote_secondaries", Warned("set net.ipv4.conf.*.promote_secondaries by sysctl")),
    k(INSTANCE, "native_ipv6", Noted("the addresses tell the family")),
    k(INSTANCE, "kernel_rx_buf_size", Noted(PROCESS)),
    k(INSTANCE, "debug", Noted("`--log` says what is logged")),
    k(INSTANCE, "lvs_sync_daemon_interface", Refused(SYNC_DAEMON)),
    // authentication
    k(AUTH, "auth_type", Honoured("PASS; AH, which is IPsec with MD5, is refused")),
    k(
        AUTH,
        "auth_pass",
        Honoured(
            "`password`; Keepalived sends the first 8 bytes, so these are taken, with a warning",
        ),
    ),
    // an address
    k(ADDRESS, "dev", Honoured("`dev`")),
    k(ADDRESS, "label", Honoured("`label`")),
    k(ADDRESS, "scope", Honoured("`scope`")),
    k(ADDRESS, "brd", Honoured("`broadcast`")),
    k(ADDRESS, "broadcast", Honoured("`broadcast`")),
    k(ADDRESS, "no_track", Noted("an address that somebody else takes away is put back")),
    k(ADDRESS, "track_group", Warned("an address that somebody else takes away is put back")),
    k(ADDRESS, "peer", Refused("addresses of point-to-point links do not move yet")),
    k(ADDRESS, "home", Refused("mobile IPv6 is not available")),
    k(ADDRESS, "-nodad", Noted("the address is added without waiting for duplicates to be found")),
    k(ADDRESS, "nodad", Noted("the address is added without waiting for duplicates to be found")),
    k(ADDRESS, "mngtmpaddr", Refused("temporary addresses do not move")),
    k(ADDRESS, "noprefixroute", Warned("the kernel adds the route of the prefix")),
    k(ADDRESS, "autojoin", Refused("groups are not joined for an address")),
    k(
        ADDRESS,
        "preferred_lft",
        Noted("Highgate refreshes the lifetime of an address while it is healthy"),
    ),
    k(ADDRESS, "use_vmac", Refused("write `use_vmac` for the whole instance")),
    // vrrp_sync_group
    k(GROUP, "group", Honoured("`members`")),
    k(GROUP, "track_script", Honoured("`track = \"script NAME\"`")),
    k(GROUP, "track_interface", Honoured("`track = \"interface NAME\"`")),
    k(GROUP, "track_file", Honoured("`track = \"file PATH\"`")),
    k(GROUP, "track_process", Honoured("`track = \"process NAME\"`")),
    k(GROUP, "track_bfd", Refused(BFD)),
    k(GROUP, "sync_group_tracking_weight", Honoured("`track_weights`")),
    k(GROUP, "global_tracking", Honoured("`track_weights`")),
    k(GROUP, "notify_master", Honoured("`notify.active`")),
    k(GROUP, "notify_backup", Honoured("`notify.backup`")),
    k(GROUP, "notify_fault", Honoured("`notify.fault`")),
    k(GROUP, "notify_stop", Honoured("`notify.stop`")),
    k(GROUP, "notify", Honoured("`notify.any`")),
    k(GROUP, "notify_priority_changes", Noted(FIFO)),
    k(GROUP, "smtp_alert", Warned(MAIL)),
    // vrrp_track_file
    k(FILE, "file", Honoured("the path in `track = \"file PATH\"`")),
    k(FILE, "weight", Honoured("the weight where the file is tracked; 1 where it is left out")),
    k(FILE, "init_file", Warned("the file is not made; one that is not there counts as 0")),
    // vrrp_track_process
    k(PROC, "process", Honoured("`command`")),
    k(PROC, "full_command", Honoured("`whole_command`")),
    k(PROC, "quorum", Honoured("`quorum`")),
    k(PROC, "quorum_max", Honoured("`quorum_max`")),
    k(PROC, "weight", Honoured("the weight where the process is tracked; 1 where it is left out")),
    k(PROC, "fork_delay", Honoured("`fork_delay`, in seconds")),
    k(PROC, "terminate_delay", Honoured("`end_delay`, in seconds")),
    k(PROC, "delay", Honoured("`fork_delay` and `end_delay`, in seconds")),
    k(
        PROC,
        "param_match",
        Refused("with `full_command`, program and arguments are compared as a whole"),
    ),
];
