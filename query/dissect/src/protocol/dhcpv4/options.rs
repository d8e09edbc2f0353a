//! The options by name: IANA's registry "BOOTP Vendor Extensions and DHCP Options".
//!
//! Fields are Packetbeat's where it has the option; the titles, which field `parameter_request_list` has, are those that it
//! shows too.

use super::message::Message;
use super::values::{Form, hex, value};
use crate::protocol::value::{Fields, Value};

/// Code of the option with the type of the message (RFC 2132, section 9.6).
pub(super) const MESSAGE_TYPE: u8 = 53;
/// Code of the option with what went wrong (RFC 2132, section 9.9).
pub(super) const MESSAGE: u8 = 56;

/// An option of the standards.
struct OptionKind {
    code: u8,
    title: &'static str,
    field: &'static str,
    form: Form,
}

/// The fields below `dhcpv4.option`. Parts of an option that come apart are one value (RFC 3396, section 7); what has no name, and
/// values that aren't what their option has, are hexadecimal. Only options with codes that are wanted.
pub(super) fn option_fields(message: &Message<'_>, is_wanted: impl Fn(u8) -> bool) -> Fields {
    let mut whole: Vec<(u8, Vec<u8>)> = Vec::new();
    for (code, bytes) in message.options().filter(|(code, _)| is_wanted(*code)) {
        match whole.iter_mut().find(|(known, _)| *known == code) {
            Some((_, value)) => value.extend_from_slice(bytes),
            None => whole.push((code, bytes.to_vec())),
        }
    }
    let mut fields = Fields::new();
    for (code, bytes) in whole {
        match kind(code) {
            Some(kind) => {
                let value = value(kind.form, &bytes).unwrap_or_else(|| Value::from(hex(&bytes)));
                fields.set_key(kind.field, value);
            }
            None => fields.set_key(&format!("option_{code}"), hex(&bytes)),
        }
    }
    fields
}

/// Title of an option, as lists of requested parameters have it.
pub(super) fn display_name(code: u8) -> String {
    kind(code).map_or_else(|| format!("unknown ({code})"), |kind| kind.title.to_owned())
}

fn kind(code: u8) -> Option<&'static OptionKind> {
    OPTIONS.binary_search_by_key(&code, |kind| kind.code).ok().map(|at| &OPTIONS[at])
}

#[rustfmt::skip]
const OPTIONS: &[OptionKind] = &[
    OptionKind { code: 1, title: "Subnet Mask", field: "subnet_mask", form: Form::Ip },
    OptionKind { code: 2, title: "Time Offset", field: "utc_time_offset_sec", form: Form::I32 },
    OptionKind { code: 3, title: "Router", field: "router", form: Form::FirstIp },
    OptionKind { code: 4, title: "Time Server", field: "time_servers", form: Form::Ips },
    OptionKind { code: 5, title: "Name Server", field: "name_servers", form: Form::Ips },
    OptionKind { code: 6, title: "Domain Name Server", field: "dns_servers", form: Form::Ips },
    OptionKind { code: 7, title: "Log Server", field: "log_servers", form: Form::Ips },
    OptionKind { code: 8, title: "Quote Server", field: "quote_servers", form: Form::Ips },
    OptionKind { code: 9, title: "LPR Server", field: "lpr_servers", form: Form::Ips },
    OptionKind { code: 10, title: "Impress Server", field: "impress_servers", form: Form::Ips },
    OptionKind { code: 11, title: "Resource Location Server", field: "resource_location_servers", form: Form::Ips },
    OptionKind { code: 12, title: "Host Name", field: "hostname", form: Form::Text },
    OptionKind { code: 13, title: "Boot File Size", field: "boot_file_size", form: Form::U16 },
    OptionKind { code: 14, title: "Merit Dump File", field: "merit_dump_file", form: Form::Text },
    OptionKind { code: 15, title: "Domain Name", field: "domain_name", form: Form::Text },
    OptionKind { code: 16, title: "Swap Server", field: "swap_server", form: Form::Ip },
    OptionKind { code: 17, title: "Root Path", field: "root_path", form: Form::Text },
    OptionKind { code: 18, title: "Extensions Path", field: "extensions_path", form: Form::Text },
    OptionKind { code: 19, title: "IP Forwarding enable/disable", field: "ip_forwarding", form: Form::Flag },
    OptionKind { code: 20, title: "Non-local Source Routing enable/disable", field: "non_local_source_routing", form: Form::Flag },
    OptionKind { code: 21, title: "Policy Filter", field: "policy_filter", form: Form::IpPairs },
    OptionKind { code: 22, title: "Maximum Datagram Reassembly Size", field: "max_datagram_reassembly_size", form: Form::U16 },
    OptionKind { code: 23, title: "Default IP Time-to-live", field: "default_ip_ttl", form: Form::U8 },
    OptionKind { code: 24, title: "Path MTU Aging Timeout", field: "path_mtu_aging_timeout_sec", form: Form::U32 },
    OptionKind { code: 25, title: "Path MTU Plateau Table", field: "path_mtu_plateau_table", form: Form::U16s },
    OptionKind { code: 26, title: "Interface MTU", field: "interface_mtu", form: Form::U16 },
    OptionKind { code: 27, title: "All Subnets Are Local", field: "all_subnets_are_local", form: Form::Flag },
    OptionKind { code: 28, title: "Broadcast Address", field: "broadcast_address", form: Form::Ip },
    OptionKind { code: 29, title: "Perform Mask Discovery", field: "perform_mask_discovery", form: Form::Flag },
    OptionKind { code: 30, title: "Mask Supplier", field: "mask_supplier", form: Form::Flag },
    OptionKind { code: 31, title: "Perform Router Discovery", field: "perform_router_discovery", form: Form::Flag },
    OptionKind { code: 32, title: "Router Solicitation Address", field: "router_solicitation_address", form: Form::Ip },
    OptionKind { code: 33, title: "Static Routing Table", field: "static_routes", form: Form::IpPairs },
    OptionKind { code: 34, title: "Trailer Encapsulation", field: "trailer_encapsulation", form: Form::Flag },
    OptionKind { code: 35, title: "ARP Cache Timeout", field: "arp_cache_timeout_sec", form: Form::U32 },
    OptionKind { code: 36, title: "Ethernet Encapsulation", field: "ethernet_encapsulation", form: Form::Flag },
    OptionKind { code: 37, title: "Default TCP TTL", field: "default_tcp_ttl", form: Form::U8 },
    OptionKind { code: 38, title: "TCP Keepalive Interval", field: "tcp_keepalive_interval_sec", form: Form::U32 },
    OptionKind { code: 39, title: "TCP Keepalive Garbage", field: "tcp_keepalive_garbage", form: Form::Flag },
    OptionKind { code: 40, title: "Network Information Service Domain", field: "nis_domain", form: Form::Text },
    OptionKind { code: 41, title: "Network Information Servers", field: "nis_servers", form: Form::Ips },
    OptionKind { code: 42, title: "NTP Servers", field: "ntp_servers", form: Form::Ips },
    OptionKind { code: 43, title: "Vendor Specific Information", field: "vendor_specific_information", form: Form::Hex },
    OptionKind { code: 44, title: "NetBIOS over TCP/IP Name Server", field: "netbios_name_servers", form: Form::Ips },
    OptionKind { code: 45, title: "NetBIOS over TCP/IP Datagram Distribution Server", field: "netbios_datagram_distribution_servers", form: Form::Ips },
    OptionKind { code: 46, title: "NetBIOS over TCP/IP Node Type", field: "netbios_node_type", form: Form::U8 },
    OptionKind { code: 47, title: "NetBIOS over TCP/IP Scope", field: "netbios_scope", form: Form::Text },
    OptionKind { code: 48, title: "X Window System Font Server", field: "x_window_font_servers", form: Form::Ips },
    OptionKind { code: 49, title: "X Window System Display Manager", field: "x_window_display_managers", form: Form::Ips },
    OptionKind { code: 50, title: "Requested IP Address", field: "requested_ip_address", form: Form::Ip },
    OptionKind { code: 51, title: "IP Addresses Lease Time", field: "ip_address_lease_time_sec", form: Form::U32 },
    OptionKind { code: 52, title: "Option Overload", field: "option_overload", form: Form::U8 },
    OptionKind { code: 53, title: "DHCP Message Type", field: "message_type", form: Form::MessageType },
    OptionKind { code: 54, title: "Server Identifier", field: "server_identifier", form: Form::Ip },
    OptionKind { code: 55, title: "Parameter Request List", field: "parameter_request_list", form: Form::Parameters },
    OptionKind { code: 56, title: "Message", field: "message", form: Form::Text },
    OptionKind { code: 57, title: "Maximum DHCP Message Size", field: "max_dhcp_message_size", form: Form::U16 },
    OptionKind { code: 58, title: "Renew Time Value", field: "renewal_time_sec", form: Form::U32 },
    OptionKind { code: 59, title: "Rebinding Time Value", field: "rebinding_time_sec", form: Form::U32 },
    OptionKind { code: 60, title: "Class Identifier", field: "class_identifier", form: Form::Text },
    OptionKind { code: 61, title: "Client identifier", field: "client_identifier", form: Form::ClientIdentifier },
    OptionKind { code: 62, title: "NetWare/IP Domain Name", field: "netware_ip_domain_name", form: Form::Text },
    OptionKind { code: 63, title: "NetWare/IP Information", field: "netware_ip_information", form: Form::Hex },
    OptionKind { code: 64, title: "Network Information Service+ Domain", field: "nis_plus_domain", form: Form::Text },
    OptionKind { code: 65, title: "Network Information Service+ Servers", field: "nis_plus_servers", form: Form::Ips },
    OptionKind { code: 66, title: "TFTP Server Name", field: "tftp_server_name", form: Form::Text },
    OptionKind { code: 67, title: "Bootfile Name", field: "boot_file_name", form: Form::Text },
    OptionKind { code: 68, title: "Mobile IP Home Agent", field: "mobile_ip_home_agents", form: Form::Ips },
    OptionKind { code: 69, title: "SMTP Server", field: "smtp_servers", form: Form::Ips },
    OptionKind { code: 70, title: "POP Server", field: "pop_servers", form: Form::Ips },
    OptionKind { code: 71, title: "NNTP Server", field: "nntp_servers", form: Form::Ips },
    OptionKind { code: 72, title: "Default WWW Server", field: "www_servers", form: Form::Ips },
    OptionKind { code: 73, title: "Default Finger Server", field: "finger_servers", form: Form::Ips },
    OptionKind { code: 74, title: "Default IRC Server", field: "irc_servers", form: Form::Ips },
    OptionKind { code: 75, title: "StreetTalk Server", field: "streettalk_servers", form: Form::Ips },
    OptionKind { code: 76, title: "StreetTalk Directory Assistance Server", field: "streettalk_directory_assistance_servers", form: Form::Ips },
    OptionKind { code: 77, title: "User Class Information", field: "user_class", form: Form::CountedTexts },
    OptionKind { code: 78, title: "SLP Directory Agent", field: "slp_directory_agent", form: Form::Hex },
    OptionKind { code: 79, title: "SLP Service Scope", field: "slp_service_scope", form: Form::Hex },
    OptionKind { code: 80, title: "Rapid Commit", field: "rapid_commit", form: Form::Nothing },
    OptionKind { code: 81, title: "FQDN", field: "fqdn", form: Form::FullName },
    OptionKind { code: 82, title: "Relay Agent Information", field: "relay_agent_information", form: Form::RelayAgent },
    OptionKind { code: 83, title: "Internet Storage Name Service", field: "isns", form: Form::Hex },
    OptionKind { code: 85, title: "NDS Servers", field: "nds_servers", form: Form::Ips },
    OptionKind { code: 86, title: "NDS Tree Name", field: "nds_tree_name", form: Form::Text },
    OptionKind { code: 87, title: "NDS Context", field: "nds_context", form: Form::Text },
    OptionKind { code: 88, title: "BCMCS Controller Domain Name List", field: "bcmcs_domain_names", form: Form::Names },
    OptionKind { code: 89, title: "BCMCS Controller IPv4 Address List", field: "bcmcs_addresses", form: Form::Ips },
    OptionKind { code: 90, title: "Authentication", field: "authentication", form: Form::Hex },
    OptionKind { code: 91, title: "Client Last Transaction Time", field: "client_last_transaction_time_sec", form: Form::U32 },
    OptionKind { code: 92, title: "Associated IP", field: "associated_ips", form: Form::Ips },
    OptionKind { code: 93, title: "Client System Architecture Type", field: "client_system_architecture", form: Form::U16s },
    OptionKind { code: 94, title: "Client Network Interface Identifier", field: "client_network_interface", form: Form::Hex },
    OptionKind { code: 95, title: "LDAP", field: "ldap", form: Form::Text },
    OptionKind { code: 97, title: "Client Machine Identifier", field: "client_machine_identifier", form: Form::Hex },
    OptionKind { code: 98, title: "OpenGroup's User Authentication", field: "user_authentication", form: Form::Text },
    OptionKind { code: 99, title: "GEOCONF_CIVIC", field: "civic_location", form: Form::Hex },
    OptionKind { code: 100, title: "IEEE 1003.1 TZ String", field: "tz_posix", form: Form::Text },
    OptionKind { code: 101, title: "Reference to the TZ Database", field: "tz_database", form: Form::Text },
    OptionKind { code: 108, title: "IPv6-Only Preferred", field: "ipv6_only_wait_sec", form: Form::U32 },
    OptionKind { code: 112, title: "NetInfo Parent Server Address", field: "netinfo_addresses", form: Form::Ips },
    OptionKind { code: 113, title: "NetInfo Parent Server Tag", field: "netinfo_tag", form: Form::Text },
    OptionKind { code: 114, title: "DHCP Captive-Portal", field: "captive_portal", form: Form::Text },
    OptionKind { code: 116, title: "Auto-Configure", field: "auto_configure", form: Form::Flag },
    OptionKind { code: 117, title: "Name Service Search", field: "name_service_search", form: Form::U16s },
    OptionKind { code: 118, title: "Subnet Selection", field: "subnet_selection", form: Form::Ip },
    OptionKind { code: 119, title: "DNS Domain Search List", field: "domain_search", form: Form::Names },
    OptionKind { code: 120, title: "SIP Servers", field: "sip_servers", form: Form::Hex },
    OptionKind { code: 121, title: "Classless Static Route", field: "classless_static_routes", form: Form::Routes },
    OptionKind { code: 122, title: "CCC, CableLabs Client Configuration", field: "cablelabs_client_configuration", form: Form::Hex },
    OptionKind { code: 123, title: "GeoConf", field: "geographic_location", form: Form::Hex },
    OptionKind { code: 124, title: "Vendor-Identifying Vendor Class", field: "vendor_class", form: Form::Vendors },
    OptionKind { code: 125, title: "Vendor-Identifying Vendor-Specific", field: "vendor_identifying_options", form: Form::Vendors },
    OptionKind { code: 136, title: "OPTION_PANA_AGENT", field: "pana_agents", form: Form::Ips },
    OptionKind { code: 137, title: "OPTION_V4_LOST", field: "lost_server", form: Form::Hex },
    OptionKind { code: 138, title: "OPTION_CAPWAP_AC_V4", field: "capwap_controllers", form: Form::Ips },
    OptionKind { code: 139, title: "OPTION-IPv4_Address-MoS", field: "mos_addresses", form: Form::Hex },
    OptionKind { code: 140, title: "OPTION-IPv4_FQDN-MoS", field: "mos_names", form: Form::Hex },
    OptionKind { code: 141, title: "SIP UA Configuration Service Domains", field: "sip_service_domains", form: Form::Names },
    OptionKind { code: 142, title: "OPTION-IPv4_Address-ANDSF", field: "andsf_addresses", form: Form::Ips },
    OptionKind { code: 143, title: "OPTION_V4_SZTP_REDIRECT", field: "sztp_redirect", form: Form::Hex },
    OptionKind { code: 144, title: "GeoLoc", field: "geolocation", form: Form::Hex },
    OptionKind { code: 145, title: "FORCERENEW_NONCE_CAPABLE", field: "forcerenew_nonce_capable", form: Form::Hex },
    OptionKind { code: 146, title: "RDNSS Selection", field: "rdnss_selection", form: Form::Hex },
    OptionKind { code: 147, title: "OPTION_V4_DOTS_RI", field: "dots_name", form: Form::Hex },
    OptionKind { code: 148, title: "OPTION_V4_DOTS_ADDRESS", field: "dots_addresses", form: Form::Ips },
    OptionKind { code: 150, title: "TFTP server address", field: "tftp_server_addresses", form: Form::Ips },
    OptionKind { code: 151, title: "Status code", field: "status_code", form: Form::Hex },
    OptionKind { code: 152, title: "Absolute time", field: "base_time_sec", form: Form::U32 },
    OptionKind { code: 153, title: "Start time of state", field: "start_time_of_state_sec", form: Form::U32 },
    OptionKind { code: 154, title: "Query start time", field: "query_start_time_sec", form: Form::U32 },
    OptionKind { code: 155, title: "Query end time", field: "query_end_time_sec", form: Form::U32 },
    OptionKind { code: 156, title: "DHCP state", field: "dhcp_state", form: Form::U8 },
    OptionKind { code: 157, title: "Data Source", field: "data_source", form: Form::U8 },
    OptionKind { code: 158, title: "OPTION_V4_PCP_SERVER", field: "pcp_servers", form: Form::Hex },
    OptionKind { code: 159, title: "Port Params", field: "port_parameters", form: Form::Hex },
    OptionKind { code: 161, title: "MUD URL", field: "mud_url", form: Form::Text },
    OptionKind { code: 162, title: "Encrypted DNS", field: "encrypted_dns", form: Form::Hex },
    OptionKind { code: 175, title: "Etherboot", field: "etherboot", form: Form::Hex },
    OptionKind { code: 176, title: "IP Telephone", field: "ip_telephone", form: Form::Hex },
    OptionKind { code: 208, title: "PXELinux Magic", field: "pxelinux_magic", form: Form::Hex },
    OptionKind { code: 209, title: "PXELinux Config File", field: "pxelinux_config_file", form: Form::Text },
    OptionKind { code: 210, title: "PXELinux Path Prefix", field: "pxelinux_path_prefix", form: Form::Text },
    OptionKind { code: 211, title: "PXELinux Reboot Time", field: "pxelinux_reboot_time_sec", form: Form::U32 },
    OptionKind { code: 212, title: "6RD", field: "sixrd", form: Form::Hex },
    OptionKind { code: 213, title: "Access Network Domain Name", field: "access_network_domain_name", form: Form::Hex },
    OptionKind { code: 220, title: "Subnet Allocation", field: "subnet_allocation", form: Form::Hex },
    OptionKind { code: 221, title: "Virtual Subnet Selection", field: "virtual_subnet_selection", form: Form::Hex },
    OptionKind { code: 252, title: "Web Proxy Auto-Discovery", field: "web_proxy_auto_discovery", form: Form::Text },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_in_order_and_have_names_of_their_own() {
        assert!(OPTIONS.is_sorted_by_key(|kind| kind.code));
        let mut names: Vec<_> = OPTIONS.iter().map(|kind| kind.field).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OPTIONS.len());
        assert_eq!(display_name(6), "Domain Name Server");
        assert_eq!(display_name(254), "unknown (254)");
    }
}
