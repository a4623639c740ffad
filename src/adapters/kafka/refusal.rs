//! Why a cluster does not let us in, in words that help.
//!
//! Owns the reading of the library's complaints. Promises that what may pass by itself, such as a
//! connection that ends in the middle of a handshake, is no refusal. Never tells a secret: it knows
//! none, and names options instead.

use rdkafka::error::RDKafkaErrorCode;

/// What a complaint says about letting us in; `None` where it is of something else.
pub(super) fn refusal(code: Option<RDKafkaErrorCode>, complaint: &str) -> Option<String> {
    let has = |words: &str| complaint.contains(words);
    let of_login = matches!(
        code,
        Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed)
    );
    // The library also calls it a failed login where the connection ended before the broker
    // answered, or where an answer came to a request of an earlier login. Both may pass.
    let handshake = complaint.split_once("mechanism handshake failed: ").map(|(_, why)| why);
    let is_unanswered = handshake.is_some_and(|why| !why.contains("Unsupported SASL mechanism"))
        || has("hung up from peer")
        || has("SASL authentication failure: Disconnected");
    if of_login && is_unanswered {
        return None;
    }
    // What a broker says of our certificate comes as an alert, sometimes after the handshake and
    // then as an ordinary end of the connection.
    let alert = complaint.split_once("alert ").map(|(_, alert)| alert);
    let of_token = has("no token available") || has("Failed to acquire SASL OAUTHBEARER token");
    let advice = if of_login && of_token {
        "there is no token to log in with; check sasl.oauthbearer.token_file"
    } else if of_login {
        "the cluster refuses the credentials; check sasl.mechanism, sasl.username and \
         sasl.password, or the token"
    } else if has("certificate verify failed") {
        "the broker's certificate is not trusted: its authority is not that of ssl.ca.location, \
         or it has expired, or it is made out to another name"
    } else if let Some(alert) = alert {
        match alert {
            alert if alert.starts_with("certificate expired") => {
                "the broker refuses our certificate: it has expired; check ssl.certificate.location"
            }
            alert if alert.starts_with("unknown ca") => {
                "the broker refuses our certificate: it does not know its authority; check \
                 ssl.certificate.location"
            }
            alert if alert.starts_with("certificate required") => {
                "the broker wants a certificate of ours; set ssl.certificate.location and \
                 ssl.key.location"
            }
            alert if alert.contains("certificate") => {
                "the broker refuses our certificate, or misses it; check ssl.certificate.location \
                 and ssl.key.location"
            }
            _ => return None,
        }
    } else {
        return None;
    };
    Some(format!("{advice} ({complaint})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_look_at() {
        use RDKafkaErrorCode::{AllBrokersDown, Authentication, BrokerTransportFailure, SSL};
        let of = |code, complaint| refusal(Some(code), complaint);
        for (code, complaint, advice) in [
            (Authentication, "SASL authentication error: Authentication failed", "sasl.password"),
            (Authentication, "cannot log in because there is no token available", "token_file"),
            (Authentication, "Failed to acquire SASL OAUTHBEARER token: x", "token_file"),
            (
                Authentication,
                "SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: \
                 broker's supported mechanisms: SCRAM-SHA-512",
                "sasl.mechanism",
            ),
            (SSL, "error:0A000086:SSL routines::certificate verify failed: x", "ssl.ca.location"),
            (SSL, "SSL handshake failed: sslv3 alert certificate expired: 45", "has expired"),
            (BrokerTransportFailure, "read: tlsv1 alert unknown ca: 48", "its authority"),
            (BrokerTransportFailure, "tlsv13 alert certificate required: 116", "wants a"),
            (SSL, "sslv3 alert bad certificate: SSL alert number 42", "refuses our"),
        ] {
            let words = of(code, complaint).unwrap_or_else(|| panic!("{complaint}"));
            assert!(words.contains(advice) && words.contains(complaint), "{words}");
        }
        for (code, complaint) in [
            (BrokerTransportFailure, "Connect to ipv4#127.0.0.1:1 failed: Connection refused"),
            (BrokerTransportFailure, "SSL handshake failed: Disconnected"),
            (AllBrokersDown, "1/1 brokers are down"),
            (SSL, "tlsv1 alert internal error"),
            (
                Authentication,
                "SASL OAUTHBEARER mechanism handshake failed: Local: Broker transport failure: \
                 broker's supported mechanisms: (n/a) (after 0ms in state DOWN)",
            ),
            (
                Authentication,
                "SASL OAUTHBEARER mechanism handshake failed: Broker: Request not valid in \
                 current SASL state: broker's supported mechanisms:  (after 11ms in state \
                 AUTH_HANDSHAKE)",
            ),
            (Authentication, "Disconnected: hung up from peer in state AUTH_LEGACY"),
            (
                Authentication,
                "SASL authentication failure: Disconnected: connection closed by peer: check \
                 client SCRAM-SHA-512 credentials and broker logs",
            ),
        ] {
            assert_eq!(of(code, complaint), None, "{complaint}");
        }
    }
}
