//! `e2p devices`: what is compiled in, and what each backend finds on this machine.

use serde_json::json;

use crate::device;
use crate::output::Output;

/// Lists backends, the one that `--device auto` prefers first.
pub(crate) fn run(output: &mut Output) -> anyhow::Result<()> {
    let backends = device::list();
    if output.is_json() {
        let list = backends.iter().map(|found| {
            json!({
                "backend": found.backend,
                "compiled": found.compiled,
                "devices": found.devices.as_ref().ok(),
                "error": found.devices.as_ref().err(),
            })
        });
        return output.json_line(&json!({ "backends": list.collect::<Vec<_>>() }));
    }
    for found in backends {
        let state = match &found.devices {
            _ if !found.compiled => {
                format!(
                    "not compiled in (cargo install --path crates/e2p-cli --features {})",
                    found.backend
                )
            }
            Ok(devices) if devices.is_empty() => "no device found".into(),
            Ok(devices) => {
                let numbered = devices.iter().enumerate();
                let numbered = numbered.map(|(n, name)| format!("{}:{n} {name}", found.backend));
                numbered.collect::<Vec<_>>().join("; ")
            }
            Err(reason) => {
                format!(
                    "does not work: {}",
                    reason.lines().next().unwrap_or_default()
                )
            }
        };
        output.line(&format!("{:<8}{state}", found.backend))?;
    }
    Ok(())
}
