//! Networks of a stack that are there and not as its files have them.

use crate::view::View;
use skep_types::{NetworkSpec, StackSpec};

/// A warning for each network that is there and not as the file has it: networks
/// cannot be changed.
pub fn changed_networks(stack: &StackSpec, view: &View) -> Vec<String> {
    let own = stack.networks.iter().filter(|network| !network.external);
    own.filter_map(|network| {
        let name = &network.name;
        let present = view.networks.iter().find(|n| n.spec.name == *name)?;
        let keys = differing(&present.spec, &network.spec);
        (!keys.is_empty()).then(|| {
            format!(
                "network {name} stays as it is: it differs from the file in {}, and a \
                 network cannot be changed\n  help: remove the stack (skep stack rm {stack}), or \
                 only the services on the network and then it (skep network rm {name}), and \
                 deploy again",
                keys.join(", "),
                stack = stack.name,
            )
        })
    })
    .collect()
}

/// Keys of a stack file in which two specs of a network differ.
fn differing(present: &NetworkSpec, file: &NetworkSpec) -> Vec<&'static str> {
    let NetworkSpec {
        name: _,
        labels,
        driver,
        options,
        subnets,
        internal,
        attachable,
        ingress,
        ipv6,
    } = file;
    let keys = [
        (present.driver != *driver, "driver"),
        (present.options != *options, "driver_opts"),
        (present.subnets != *subnets, "ipam.config"),
        (present.internal != *internal, "internal"),
        (present.attachable != *attachable, "attachable"),
        (present.labels != *labels, "labels"),
        (present.ingress != *ingress, "ingress"),
        (present.ipv6 != *ipv6, "enable_ipv6"),
    ];
    let differ = keys.into_iter().filter(|(differs, _)| *differs);
    differ.map(|(_, key)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::swarm;
    use anyhow::Result;
    use skep_stacks::LoadInput;
    use std::collections::BTreeMap;
    use std::path::Path;

    const FILE: &str = "
services:
  web: {image: 'nginx:1.29', networks: [front]}
networks:
  front: {driver_opts: {encrypted: ''}, internal: true}
";

    fn shop() -> Result<StackSpec> {
        let input = LoadInput {
            files: &[("shop.yml", FILE)],
            stack: Some("shop"),
            profiles: &[],
            env: &|_| None,
            env_files: &[],
            read: &|_| Ok(b"text".to_vec()),
            workdir: Path::new("/"),
        };
        Ok(skep_stacks::load(input)?.stack)
    }

    #[test]
    fn one_that_differs_is_named_with_its_keys() -> Result<()> {
        let stack = shop()?;
        let mut view = swarm(Vec::new());
        assert!(changed_networks(&stack, &view).is_empty());
        view.networks.push(skep_types::Network {
            id: skep_types::NetworkId::from_bits(1),
            meta: Default::default(),
            spec: stack.networks[0].spec.clone(),
            subnets: vec![],
            blocks: BTreeMap::new(),
        });
        assert!(changed_networks(&stack, &view).is_empty());
        view.networks[0].spec.options.clear();
        view.networks[0].spec.internal = false;
        let warnings = changed_networks(&stack, &view);
        assert_eq!(
            warnings,
            [
                "network shop_front stays as it is: it differs from the file in \
              driver_opts, internal, and a network cannot be changed\n  help: remove the stack \
              (skep stack rm shop), or only the services on the network and then it (skep network \
              rm shop_front), and deploy again"
            ]
        );
        Ok(())
    }
}
