#![no_main]

use libfuzzer_sys::fuzz_target;

// The fuzzer ends at any panic, caught or not; the store catches those of sled.
fuzz_target!(
    init: {
        let end = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !panic.location().is_some_and(|at| hostile::expects_panic(at.file())) {
                end(panic);
            }
        }));
    },
    |data: &[u8]| hostile::directory(data)
);
