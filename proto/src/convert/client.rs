//! Who has a certificate without being a node.

use crate::{Invalid, pb};
use skep_types::{Client, ClientRole, Clients, Timestamp};

impl From<ClientRole> for pb::ClientRole {
    fn from(role: ClientRole) -> Self {
        match role {
            ClientRole::Admin => pb::ClientRole::Admin,
            ClientRole::ReadOnly => pb::ClientRole::ReadOnly,
        }
    }
}

/// Reads what a client may do.
///
/// # Errors
/// If it is nothing that is known here.
pub fn client_role(number: i32, field: &'static str) -> Result<ClientRole, Invalid> {
    match pb::ClientRole::try_from(number) {
        Ok(pb::ClientRole::Admin) => Ok(ClientRole::Admin),
        Ok(pb::ClientRole::ReadOnly) => Ok(ClientRole::ReadOnly),
        Err(_) => Err(Invalid::Enum(field, number)),
    }
}

/// Clients on the wire.
pub fn clients_on_wire(clients: &Clients) -> Vec<pb::Client> {
    let on_wire = |(name, client): (&String, &Client)| {
        let Client {
            role,
            certificate,
            created_at,
            until,
        } = client;
        pb::Client {
            name: name.clone(),
            role: pb::ClientRole::from(*role).into(),
            certificate: certificate.to_vec().into(),
            created_at_ms: created_at.0,
            until_ms: until.0,
        }
    };
    clients.iter().map(on_wire).collect()
}

/// Reads what [`clients_on_wire`] wrote.
///
/// # Errors
/// If one cannot be.
pub fn clients(wire: Vec<pb::Client>) -> Result<Clients, Invalid> {
    let read = |client: pb::Client| {
        let pb::Client {
            name,
            role: number,
            certificate,
            created_at_ms,
            until_ms,
        } = client;
        let certificate = certificate.as_ref().try_into().map_err(|_| {
            let found = format!("{} bytes instead of 32", certificate.len());
            Invalid::Value("client.certificate", found)
        })?;
        let client = Client {
            role: client_role(number, "client.role")?,
            certificate,
            created_at: Timestamp(created_at_ms),
            until: Timestamp(until_ms),
        };
        Ok((name, client))
    };
    wire.into_iter().map(read).collect()
}
