// The Corefiles that Kubernetes distributions begin with, whole: each is followed, or what cannot be is named by its line.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kubeadmCorefile } from '../fixtures.ts';
import { readCorefile } from './corefile.ts';

const usual = `    kubernetes cluster.local in-addr.arpa ip6.arpa {
      pods insecure
      fallthrough in-addr.arpa ip6.arpa
    }`;

interface Known {
  readonly name: string;
  readonly corefile: string;
  /** The files beside it, by their path below /etc/coredns. */
  readonly files?: Readonly<Record<string, string>>;
  /** `ZONES:PORT plugins …` of each block. */
  readonly blocks?: readonly string[];
  readonly warnings?: readonly RegExp[];
  readonly problems?: readonly string[];
}

const known: readonly Known[] = [
  {
    name: 'kubeadm 1.36, kind',
    corefile: kubeadmCorefile,
    blocks: ['.:53 cache forward health kubernetes loop'],
  },
  {
    name: 'minikube',
    corefile: `.:53 {
    log
    errors
    health {
       lameduck 5s
    }
    ready
${usual}
    prometheus :9153
    hosts {
       192.168.49.1 host.minikube.internal
       fallthrough
    }
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30
    loop
    reload
    loadbalance
}
`,
    blocks: ['.:53 cache forward health hosts kubernetes log loop'],
  },
  {
    name: 'EKS',
    corefile: `.:53 {
    errors
    health {
        lameduck 5s
      }
    ready
${usual}
    prometheus :9153
    forward . /etc/resolv.conf
    cache 30
    loop
    reload
    loadbalance
}
`,
    blocks: ['.:53 cache forward health kubernetes loop'],
  },
  {
    name: 'k3s without coredns-custom',
    corefile: `.:53 {
    errors
    health
    ready
${usual}
    hosts /etc/coredns/NodeHosts {
      ttl 60
      reload 15s
      fallthrough
    }
    prometheus :9153
    cache 30
    loop
    reload
    loadbalance
    import /etc/coredns/custom/*.override
    forward . /etc/resolv.conf
}
import /etc/coredns/custom/*.server
`,
    files: { NodeHosts: '172.18.0.2 server' },
    blocks: ['.:53 cache forward health hosts kubernetes loop'],
  },
  {
    name: 'k3s with coredns-custom',
    corefile: `.:53 {
    errors
    health
    ready
${usual}
    hosts /etc/coredns/NodeHosts {
      ttl 60
      reload 15s
      fallthrough
    }
    import /etc/coredns/custom/*.override
    forward . /etc/resolv.conf
}
import /etc/coredns/custom/*.server
`,
    files: {
      NodeHosts: '172.18.0.2 server',
      'custom/log.override': 'log',
      'custom/names.override': 'rewrite name exact old.example new.example\n',
      'custom/office.server': 'office.example:53 {\n  forward . 10.0.0.53\n}\n',
      'custom/lab.server': 'lab.example:53 {\n  forward . 10.0.0.54\n}\n',
      'custom/README': 'this is no Corefile {',
    },
    blocks: ['.:53 forward health hosts kubernetes log rewrite', 'lab.example:53 forward', 'office.example:53 forward'],
  },
  {
    name: 'AKS',
    corefile: `.:53 {
    errors
    ready
    health {
      lameduck 5s
    }
${usual}
    prometheus :9153
    forward . /etc/resolv.conf
    cache 30
    loop
    reload
    loadbalance
    import custom/*.override
    template ANY ANY internal.cloudapp.net {
      match "^(?:[^.]+\\.){4,}internal\\.cloudapp\\.net\\.$"
      rcode NXDOMAIN
      fallthrough
    }
    template ANY ANY reddog.microsoft.com {
      rcode NXDOMAIN
    }
}
import custom/*.server
`,
    problems: ['18: the plugin template is not supported', '23: the plugin template is not supported'],
  },
  {
    name: 'OpenShift',
    corefile: `# lab
corp.example:5353 {
    prometheus 127.0.0.1:9153
    forward . 10.0.0.53 10.0.0.54:5353 {
        policy random
    }
    errors
    log . {
        class error
    }
    bufsize 1232
    cache 900 {
        denial 9984 30
    }
}
.:5353 {
    bufsize 1232
    errors
    log . {
        class error
    }
    health {
        lameduck 20s
    }
    ready
${usual}
    prometheus 127.0.0.1:9153
    forward . /etc/resolv.conf {
        policy sequential
    }
    cache 900 {
        denial 9984 30
    }
    reload
}
hostname.bind:5353 {
    chaos
}
`,
    blocks: [
      'corp.example:5353 cache forward log',
      '.:5353 cache forward health kubernetes log',
      'hostname.bind:5353 chaos',
    ],
    warnings: [/bufsize has no effect/, /bufsize has no effect/],
  },
  {
    name: 'RKE2',
    corefile: `.:53 {
    errors
    health  {
        lameduck 10s
    }
    ready
    kubernetes   cluster.local  cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    prometheus   0.0.0.0:9153
    forward   . /etc/resolv.conf
    cache   30
    loop
    reload
    loadbalance
}`,
    blocks: ['.:53 cache forward health kubernetes loop'],
  },
  {
    name: 'Rancher',
    corefile: `.:53 {
    errors
    health {
      lameduck 5s
    }
    ready
${usual}
    prometheus :9153
    forward . "/etc/resolv.conf"
    cache 30
    loop
    reload
    loadbalance
} # STUBDOMAINS - Rancher specific change
`,
    blocks: ['.:53 cache forward health kubernetes loop'],
  },
  {
    name: 'Kubespray with NodeLocal DNSCache',
    corefile: `.:53 {
    errors {
      consolidate 5m ".* i/o timeout$" warning
    }
    health {
      lameduck 5s
    }
    ready
${usual}
    prometheus :9153
    forward . /etc/resolv.conf {
      prefer_udp
      max_concurrent 1000
    }
    cache 30 {
      prefetch 20 10s
    }
    loop
    reload
    loadbalance
}
`,
    blocks: ['.:53 cache forward health kubernetes loop'],
    warnings: [/equal failures are always written once a minute/],
  },
  {
    name: 'NodeLocal DNSCache (also GKE)',
    corefile: `cluster.local:53 {
    errors
    cache {
        success 9984 30
        denial 9984 5
    }
    reload
    loop
    bind 169.254.20.10 10.96.0.10
    forward . 10.96.0.11 {
        force_tcp
    }
    prometheus :9253
    health 169.254.20.10:8080
}
in-addr.arpa:53 {
    errors
    cache 30
    reload
    loop
    bind 169.254.20.10 10.96.0.10
    forward . 10.96.0.11 {
        force_tcp
    }
    prometheus :9253
}
ip6.arpa:53 {
    errors
    cache 30
    reload
    loop
    bind 169.254.20.10 10.96.0.10
    forward . 10.96.0.11 {
        force_tcp
    }
    prometheus :9253
}
.:53 {
    errors
    cache 30
    reload
    loop
    bind 169.254.20.10 10.96.0.10
    forward . /etc/resolv.conf
    prometheus :9253
}
`,
    blocks: [
      'cluster.local:53 cache forward health loop',
      'in-addr.arpa:53 cache forward loop',
      'ip6.arpa:53 cache forward loop',
      '.:53 cache forward loop',
    ],
    warnings: [/bind has no effect/, /bind has no effect/, /bind has no effect/, /bind has no effect/],
  },
  {
    name: 'DigitalOcean',
    corefile: `.:53 {
    errors
    health
    ready
${usual}
    prometheus :9153
    forward . /etc/resolv.conf
    cache 30
    loop
    reload
    loadbalance
    import custom/*.override
}
import custom/*.server
`,
    files: { 'custom/bad.override': 'log\netcd skydns\n' },
    problems: ['15: the plugin etcd is not supported (custom/bad.override:2)'],
  },
];

const plugins = ['cache', 'chaos', 'health', 'hosts', 'kubernetes', 'loop'] as const;

for (const { name, corefile, files = {}, blocks, warnings = [], problems } of known)
  test(`the Corefile of ${name}`, async () => {
    const reading = await readCorefile(corefile, {
      importFiles: (pattern) => {
        const glob = pattern.replace('/etc/coredns/', '').replace('*', '');
        const [folder = '', suffix = ''] = glob.split('/');
        const names = Object.keys(files).filter((file) => file.startsWith(`${folder}/`) && file.endsWith(suffix));
        return names.sort().map((file) => ({ name: file, text: files[file] ?? '' }));
      },
    });
    const found = reading.config?.blocks.map((block) => {
      const { zones, port, forwards, logs, rewrites } = block;
      const lists = Object.entries({ forward: forwards, log: logs, rewrite: rewrites });
      const names = [
        ...plugins.filter((plugin) => block[plugin] !== undefined && block[plugin] !== false),
        ...lists.flatMap(([plugin, list]) => (list.length > 0 ? [plugin] : [])),
      ];
      return `${zones.map((zone) => zone || '.').join(' ')}:${port} ${names.sort().join(' ')}`;
    });
    const refused =
      reading.config === undefined ? reading.problems.map(({ line, text }) => `${line}: ${text}`) : undefined;
    assert.deepEqual({ found, refused }, { found: blocks, refused: problems });
    assert.equal(reading.warnings.length, warnings.length, JSON.stringify(reading.warnings));
    for (const [index, { text }] of reading.warnings.entries()) assert.match(text, warnings[index] ?? /^never$/);
  });
