//! The key of a segment, and how its recipients get it.

use std::fmt;
use std::io::{Read, Write};

use chacha20poly1305::aead::OsRng;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use zeroize::Zeroizing;

use super::{Identities, Recipient};
use crate::error::{Fault, check_limit};
use crate::limits::{RECIPIENT_COUNT_MAX, WRAPPED_KEY_LEN_MAX};

/// Bytes of a key.
const KEY_LEN: usize = 32;

/// The key that the blocks of one segment are encrypted with. Dropping it overwrites it.
#[derive(Clone)]
pub(crate) struct SegmentKey(pub(super) ChaCha20Poly1305);

impl SegmentKey {
    /// A new key, and the payload of the KEY block that tells it to the recipients.
    pub(crate) fn generate(recipients: &[Recipient]) -> crate::Result<(Self, Vec<u8>)> {
        check_limit("the number of recipients", recipients.len() as u64, RECIPIENT_COUNT_MAX)?;
        let key = Zeroizing::new(<[u8; KEY_LEN]>::from(ChaCha20Poly1305::generate_key(&mut OsRng)));
        let wrapped = wrap(recipients, &key[..]).ok_or_else(|| crate::Error::Recipient {
            text: recipients.iter().map(Recipient::to_string).collect::<Vec<_>>().join(" "),
            what: "the key of a segment cannot be encrypted to these recipients",
        })?;
        Ok((Self::of(&key), wrapped))
    }

    fn of(key: &[u8; KEY_LEN]) -> Self {
        Self(ChaCha20Poly1305::new(key.into()))
    }
}

impl fmt::Debug for SegmentKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SegmentKey")
    }
}

/// The age file with a key; `None` without any recipient.
fn wrap(recipients: &[Recipient], key: &[u8]) -> Option<Vec<u8>> {
    let recipients = recipients.iter().map(|recipient| &recipient.0 as &dyn age::Recipient);
    let encryptor = age::Encryptor::with_recipients(recipients).ok()?;
    let mut wrapped = Vec::new();
    let mut output = encryptor.wrap_output(&mut wrapped).ok()?;
    output.write_all(key).and_then(|()| output.finish()).ok()?;
    Some(wrapped)
}

/// The key in the payload of a KEY block; `None` when it is for others than these identities.
pub(crate) fn unwrap_key(wrapped: &[u8], identities: &Identities) -> Result<Option<SegmentKey>, Fault> {
    const MALFORMED: Fault = Fault::Corrupt("the KEY block holds no key");
    if wrapped.len() > WRAPPED_KEY_LEN_MAX {
        return Err(Fault::Corrupt("the KEY block is longer than the limit"));
    }
    let decryptor = age::Decryptor::new_buffered(wrapped).map_err(|_| MALFORMED)?;
    // One for a passphrase would ask for as much work as it states.
    if decryptor.is_scrypt() {
        return Err(MALFORMED);
    }
    let mut output = match decryptor.decrypt(identities.iter()) {
        Ok(output) => output,
        Err(age::DecryptError::NoMatchingKeys) => return Ok(None),
        Err(_) => return Err(MALFORMED),
    };
    let mut key = Zeroizing::new([0; KEY_LEN]);
    output.read_exact(&mut key[..]).map_err(|_| MALFORMED)?;
    // The rest is read, since only its end vouches for all of it.
    match output.read(&mut [0]) {
        Ok(0) => Ok(Some(SegmentKey::of(&key))),
        _ => Err(MALFORMED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use age::secrecy::ExposeSecret;

    fn pair() -> (Identities, Recipient) {
        let identity = age::x25519::Identity::generate();
        let recipient = identity.to_public().to_string().parse().unwrap();
        (Identities::parse("key", identity.to_string().expose_secret()).unwrap(), recipient)
    }

    #[test]
    fn each_recipient_gets_the_key_and_nobody_else() {
        let (alice, to_alice) = pair();
        let (bob, to_bob) = pair();
        let (eve, _) = pair();
        let (_, wrapped) = SegmentKey::generate(&[to_alice, to_bob]).unwrap();
        assert!(unwrap_key(&wrapped, &alice).unwrap().is_some());
        assert!(unwrap_key(&wrapped, &bob).unwrap().is_some());
        assert!(unwrap_key(&wrapped, &eve.and(&bob)).unwrap().is_some());
        assert!(unwrap_key(&wrapped, &eve).unwrap().is_none());
        assert!(unwrap_key(&wrapped, &Identities::default()).unwrap().is_none());
    }

    #[test]
    fn a_damaged_key_is_no_key() {
        let (alice, to_alice) = pair();
        let (_, wrapped) = SegmentKey::generate(&[to_alice]).unwrap();
        for at in 0..wrapped.len() {
            let mut damaged = wrapped.clone();
            damaged[at] ^= 1;
            assert!(!matches!(unwrap_key(&damaged, &alice), Ok(Some(_))), "byte {at}");
            assert!(!matches!(unwrap_key(&wrapped[..at], &alice), Ok(Some(_))), "cut at {at}");
        }
        assert!(unwrap_key(&[wrapped, vec![0]].concat(), &alice).is_err());
    }

    #[test]
    fn recipients_are_limited() {
        let (_, recipient) = pair();
        let many = vec![recipient; RECIPIENT_COUNT_MAX as usize];
        let (_, wrapped) = SegmentKey::generate(&many).unwrap();
        assert!(wrapped.len() <= WRAPPED_KEY_LEN_MAX);
        assert!(SegmentKey::generate(&[&many[..], &many[..1]].concat()).is_err());
        assert!(SegmentKey::generate(&[]).is_err());
    }
}
