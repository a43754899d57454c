use serde::Serialize;
use siskin::machine::Tree;

/// What a sensor of the kernel's thermal zones says.
#[derive(Debug, PartialEq, Serialize)]
pub struct Temperature {
    /// The zone's type, such as `cpu-thermal`.
    pub zone: String,
    /// What it says.
    pub celsius: f64,
}

/// The thermal zones that tell a temperature.
pub fn temperatures(tree: &Tree) -> Vec<Temperature> {
    const ZONES: &str = "sys/class/thermal";
    let temperature = |zone: String| {
        let celsius = tree.number::<i32>(format!("{ZONES}/{zone}/temp"))? as f64 / 1e3;
        // A sensor that is not connected says something absurd.
        let plausible = (-50.0..150.0).contains(&celsius) && celsius != 0.0;
        let zone = tree.text(format!("{ZONES}/{zone}/type")).unwrap_or(zone);
        plausible.then_some(Temperature { zone, celsius })
    };
    tree.numbered(ZONES, "thermal_zone").into_iter().filter_map(temperature).collect()
}

/// Whether a Raspberry Pi's firmware has seen too low a voltage: it then lowers the clock.
pub fn under_voltage(tree: &Tree) -> bool {
    const MONITORS: &str = "sys/class/hwmon";
    tree.numbered(MONITORS, "hwmon").iter().any(|monitor| {
        let of = |file: &str| tree.text(format!("{MONITORS}/{monitor}/{file}"));
        of("name").as_deref() == Some("rpi_volt") && of("in0_lcrit_alarm").as_deref() == Some("1")
    })
}

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;

    #[test]
    fn zones_tell_their_types_and_degrees() {
        let (_folder, tree) = fake(&[
            ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
            ("sys/class/thermal/thermal_zone0/temp", "61341\n"),
            ("sys/class/thermal/thermal_zone1/type", "unplugged\n"),
            ("sys/class/thermal/thermal_zone1/temp", "-274000\n"),
            ("sys/class/thermal/thermal_zone2/type", "silent\n"),
            ("sys/class/thermal/cooling_device0/type", "fan\n"),
        ]);
        let expected = Temperature { zone: "cpu-thermal".into(), celsius: 61.341 };
        assert_eq!(temperatures(&tree), [expected]);
    }

    #[test]
    fn a_raspberry_pi_tells_when_its_supply_is_weak() {
        for (alarm, is_weak) in [("0\n", false), ("1\n", true)] {
            let (_folder, tree) = fake(&[
                ("sys/class/hwmon/hwmon0/name", "cpu_thermal\n"),
                ("sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
                ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", alarm),
            ]);
            assert_eq!(under_voltage(&tree), is_weak);
        }
    }
}
