//! Any bytes as `config.json`: refused with an error or turned into a configuration that keeps its
//! promises.

#![no_main]

use e2p_model::parse_config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(json) = serde_json::from_slice(bytes) else {
        return;
    };
    match parse_config(&json) {
        Ok(config) => {
            config.validate().expect("a parsed configuration is valid");
            // Sizes that are multiplied somewhere must not overflow.
            let _ = config.qkv_width();
            let _ = config.n_parameters();
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
