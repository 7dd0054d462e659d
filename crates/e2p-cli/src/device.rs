//! Which backends are compiled in and which device computes. The only file that asks for backend
//! features.

use std::panic::{self, UnwindSafe};
use std::sync::LazyLock;

use anyhow::anyhow;
use e2p_model::burn::tensor::{Device, DeviceType, Tensor};

use crate::report::hinted;

/// The backends by name, the most capable first: the order in which `auto` tries them.
const BACKENDS: [&str; 5] = ["cuda", "metal", "vulkan", "wgpu", "flex"];

/// Compiled backends in the order of [`BACKENDS`].
const COMPILED: &[&str] = &[
    #[cfg(feature = "cuda")]
    "cuda",
    #[cfg(feature = "metal")]
    "metal",
    #[cfg(feature = "vulkan")]
    "vulkan",
    #[cfg(feature = "wgpu")]
    "wgpu",
    #[cfg(feature = "flex")]
    "flex",
];

/// What `--version` says behind the name: version, revision and what is compiled in.
pub(crate) static VERSION: LazyLock<String> = LazyLock::new(|| {
    let hub = if cfg!(feature = "hub") { "yes" } else { "no" };
    format!(
        "{} (revision {})\nbackends: {}\ndownloads from a hub: {hub}",
        env!("CARGO_PKG_VERSION"),
        env!("E2P_REVISION"),
        COMPILED.join(", "),
    )
});

/// A device and what to call it. Preferred variable name: `chosen`.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    pub(crate) device: Device,
    pub(crate) backend: &'static str,
    pub(crate) name: String,
}

/// What one backend is and finds on this machine.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) backend: &'static str,
    pub(crate) compiled: bool,
    /// Names of devices, or why there are none.
    pub(crate) devices: Result<Vec<String>, String>,
}

/// Every backend with its devices.
pub(crate) fn list() -> Vec<Found> {
    let found = |backend: &'static str| {
        let compiled = COMPILED.contains(&backend);
        let devices = if compiled {
            enumerate(backend)
        } else {
            Ok(Vec::new())
        };
        let names =
            devices.map(|devices| devices.iter().map(|device| name(backend, device)).collect());
        Found {
            backend,
            compiled,
            devices: names,
        }
    };
    BACKENDS.into_iter().map(found).collect()
}

/// Finds the device that `--device` asks for and checks that it computes.
///
/// `auto` takes the first compiled backend that finds a device other than a software renderer.
///
/// # Errors
/// An unknown name, a backend that is not compiled in, a device that is not there or does not work.
pub(crate) fn choose(requested: &str) -> anyhow::Result<Chosen> {
    let (backend, index) = parse(requested)?;
    let chosen = match (backend, index) {
        (None, _) => automatic()?,
        (Some(backend), None) => Chosen {
            device: default_device(backend),
            backend,
            name: backend.into(),
        },
        (Some(backend), Some(index)) => nth(backend, index)?,
    };
    let device = chosen.device.clone();
    caught(move || {
        let sum = Tensor::<1>::ones([4], &device).sum();
        sum.into_scalar::<f32>()
    })
    .map_err(|reason| anyhow!(reason).context(format!("device `{requested}` does not compute")))?;
    Ok(Chosen {
        name: name(chosen.backend, &chosen.device),
        ..chosen
    })
}

/// Backend and index; no backend means `auto`.
fn parse(requested: &str) -> anyhow::Result<(Option<&'static str>, Option<usize>)> {
    let lower = requested.to_lowercase();
    let (backend, index) = match lower.split_once(':') {
        Some((backend, index)) => (backend, Some(index)),
        None => (lower.as_str(), None),
    };
    let index = index
        .map(str::parse)
        .transpose()
        .map_err(|_| unknown(requested))?;
    // `cpu` is whatever computes on the processor; of burn's CPU backends this binary offers flex.
    let backend = if backend == "cpu" { "flex" } else { backend };
    if backend == "auto" && index.is_none() {
        return Ok((None, None));
    }
    let backend = BACKENDS
        .into_iter()
        .find(|name| *name == backend)
        .ok_or_else(|| unknown(requested))?;
    if COMPILED.contains(&backend) {
        return Ok((Some(backend), index));
    }
    Err(hinted(
        format!(
            "backend `{backend}` is not compiled into this binary, which has {}",
            COMPILED.join(", ")
        ),
        format!(
            "in a clone of the source: cargo install --path crates/e2p-cli --features {backend}"
        ),
    ))
}

fn unknown(requested: &str) -> anyhow::Error {
    hinted(
        format!(
            "unknown device `{requested}`; expected auto, cpu, {} or one of these with `:n`",
            BACKENDS.join(", ")
        ),
        "`e2p devices` lists what this machine has",
    )
}

fn automatic() -> anyhow::Result<Chosen> {
    for backend in COMPILED.iter().copied() {
        let devices = enumerate(backend).unwrap_or_else(|reason| {
            tracing::debug!("{backend}: {reason}");
            Vec::new()
        });
        // A software renderer is slower than the flex backend on the same processor.
        let hardware =
            |device: &&Device| backend == "flex" || !format!("{device:?}").contains("Cpu");
        if let Some(device) = devices.iter().find(hardware) {
            return Ok(Chosen {
                device: device.clone(),
                backend,
                name: backend.into(),
            });
        }
    }
    Err(hinted(
        "no compiled backend finds a device",
        "in a clone of the source: cargo install --path crates/e2p-cli --features flex",
    ))
}

fn nth(backend: &'static str, index: usize) -> anyhow::Result<Chosen> {
    let devices = enumerate(backend).map_err(|reason| anyhow!(reason))?;
    let count = devices.len();
    let device = devices.into_iter().nth(index).ok_or_else(|| {
        hinted(
            format!("there is no device `{backend}:{index}`; {backend} finds {count}"),
            "`e2p devices` lists them, counted from 0",
        )
    })?;
    Ok(Chosen {
        device,
        backend,
        name: backend.into(),
    })
}

/// What a person calls the device: for a GPU, what the driver calls it.
fn name(backend: &'static str, device: &Device) -> String {
    #[cfg(any(
        feature = "wgpu",
        feature = "vulkan",
        feature = "metal",
        feature = "cuda"
    ))]
    if backend != "flex" {
        let device = device.clone();
        return caught(move || device.identity())
            .ok()
            .flatten()
            .map_or_else(|| backend.into(), |identity| identity.name);
    }
    let _ = device;
    let threads = rayon::current_num_threads();
    if backend == "flex" {
        format!(
            "cpu, {threads} thread{}",
            if threads == 1 { "" } else { "s" }
        )
    } else {
        backend.into()
    }
}

fn enumerate(backend: &'static str) -> Result<Vec<Device>, String> {
    let Some(device_type) = device_type(backend) else {
        return Ok(Vec::new());
    };
    caught(move || Device::enumerate(device_type).into_vec())
}

fn device_type(backend: &str) -> Option<DeviceType> {
    match backend {
        #[cfg(feature = "cuda")]
        "cuda" => Some(DeviceType::Cuda),
        #[cfg(feature = "metal")]
        "metal" => Some(DeviceType::Metal),
        #[cfg(feature = "vulkan")]
        "vulkan" => Some(DeviceType::Vulkan),
        #[cfg(feature = "wgpu")]
        "wgpu" => Some(DeviceType::Wgpu),
        #[cfg(feature = "flex")]
        "flex" => Some(DeviceType::Flex),
        _ => None,
    }
}

/// The device a backend takes when none is named; for wgpu, `CUBECL_WGPU_DEFAULT_DEVICE` has a say.
fn default_device(backend: &str) -> Device {
    match backend {
        #[cfg(feature = "cuda")]
        "cuda" => Device::cuda(0),
        #[cfg(feature = "metal")]
        "metal" => Device::metal(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "vulkan")]
        "vulkan" => Device::vulkan(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "wgpu")]
        "wgpu" => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "flex")]
        "flex" => Device::flex(),
        // Not reached: only names of compiled backends come here.
        _ => Device::default(),
    }
}

/// Runs `work` and turns a panic into its message: drivers that are absent or broken panic inside
/// burn's runtimes.
fn caught<T>(work: impl FnOnce() -> T + UnwindSafe) -> Result<T, String> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = panic::catch_unwind(work);
    panic::set_hook(hook);
    result.map_err(|payload| {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied());
        text.unwrap_or("the driver gives no reason").to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed() {
        assert_eq!(parse("auto").expect("known"), (None, None));
        assert_eq!(parse("CPU").expect("known"), (Some("flex"), None));
        assert_eq!(parse("flex:0").expect("known"), (Some("flex"), Some(0)));
        for bad in ["gpu", "flex:", "flex:x", "auto:1", ""] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_processor_is_always_found() {
        assert_eq!(choose("cpu").expect("flex is compiled in").backend, "flex");
        assert!(
            choose("flex:7")
                .expect_err("there is one")
                .to_string()
                .contains("finds 1")
        );
    }

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(
            caught(|| panic!("no driver {}", 7)).map(|()| 0),
            Err("no driver 7".into())
        );
    }
}
