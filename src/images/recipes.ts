// The images that Weft can make by itself: what goes into each, as data.

/** What a container of the image runs and sees (OCI image specification, config.md). */
export interface ImageConfig {
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Env?: readonly string[];
  readonly WorkingDir?: string;
  readonly ExposedPorts?: Readonly<Record<string, object>>;
}

/**
 * A file that a recipe adds: text of its own, a copy of a file of the project (a path from its root), or a symbolic link
 * (what Debian's alternatives would have made where packages are only unpacked).
 */
export type RecipeFile = { readonly path: string; readonly mode?: number } & (
  | { readonly text: string }
  | { readonly from: string }
  | { readonly link: string }
);

export interface Recipe {
  readonly name: string;
  readonly summary: string;
  readonly config: ImageConfig;
  readonly files?: readonly RecipeFile[];
  readonly root: /** busybox alone, with a link for each of its commands. */
    | { readonly type: 'busybox' }
    /**
     * Node.js with the libraries that it and these programs of the machine need, and busybox for looking around.
     * `mounted`: without the program of Node.js itself, which a volume brings to /usr/bin/node.
     */
    | { readonly type: 'node'; readonly programs?: readonly string[]; readonly mounted?: boolean }
    /**
     * Debian packages with all that they depend on. `configured` runs their maintainer scripts on top of Debian's
     * essential packages; without it they are only unpacked, which is four times as fast and enough for plain tools.
     * `removed` lists what is taken out again.
     */
    | {
        readonly type: 'debian';
        readonly packages: readonly string[];
        readonly configured: boolean;
        readonly removed?: readonly string[];
      };
}

const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const dns: Pick<Recipe, 'files' | 'config'> = {
  files: [
    { path: '/usr/lib/weft/dns.mjs', from: 'dist/dns.mjs' },
    { path: '/usr/lib/weft/dns-thread.mjs', from: 'dist/dns-thread.mjs' },
    {
      path: '/weft-dns',
      mode: 0o755,
      text: '#!/bin/sh\nexec /usr/bin/node --disable-warning=ExperimentalWarning --max-semi-space-size=2 --v8-pool-size=1 /usr/lib/weft/dns.mjs "$@"\n',
    },
  ],
  config: { Entrypoint: ['/weft-dns'], Env: [path], ExposedPorts: { '53/udp': {}, '53/tcp': {} } },
};

export const recipes: readonly Recipe[] = [
  {
    name: 'weft.local/pause:1',
    summary: 'holds the namespaces of a pod',
    root: { type: 'busybox' },
    // As PID 1 of a shared process namespace it has to reap, which a shell that waits does.
    config: {
      Entrypoint: ['/bin/sh', '-c', "trap 'exit 0' TERM INT; while :; do sleep 2147483647 & wait $!; done"],
      Env: [path],
    },
  },
  {
    name: 'weft.local/busybox:1',
    summary: 'busybox: a shell, wget, nc, httpd, nslookup',
    root: { type: 'busybox' },
    config: { Cmd: ['sh'], Env: [path] },
  },
  {
    name: 'weft.local/dns:1',
    summary: 'cluster DNS',
    root: { type: 'node', programs: ['/usr/sbin/nft'] },
    ...dns,
  },
  {
    name: 'weft.local/dns-node:1',
    summary: 'cluster DNS for the nodes of a cluster on this machine, which share its Node.js',
    root: { type: 'node', programs: ['/usr/sbin/nft'], mounted: true },
    ...dns,
  },
  {
    name: 'weft.local/tools:1',
    summary: 'a shell, curl, dig, ip, iperf3, tcpdump, nc, ping, ss, nft, traceroute',
    root: {
      type: 'debian',
      configured: false,
      packages: [
        ...[
          'bash',
          'coreutils',
          'grep',
          'sed',
          'tar',
          'findutils',
          'ca-certificates',
          'curl',
          'bind9-dnsutils',
          'iproute2',
        ],
        ...[
          'iperf3',
          'tcpdump',
          'netcat-openbsd',
          'iputils-ping',
          'procps',
          'traceroute',
          'less',
          'jq',
          'conntrack',
          'nftables',
          'socat',
        ],
        ...['hostname', 'mawk', 'libc-bin', 'debianutils'],
      ],
    },
    files: [
      {
        path: '/etc/passwd',
        text: 'root:x:0:0:root:/root:/bin/bash\ntcpdump:x:101:101::/nonexistent:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n',
      },
      { path: '/etc/group', text: 'root:x:0:\ntcpdump:x:101:\nnogroup:x:65534:\n' },
      { path: '/etc/nsswitch.conf', text: 'passwd: files\ngroup: files\nhosts: files dns\n' },
      { path: '/bin/sh', link: 'bash' },
      { path: '/bin/nc', link: 'nc.openbsd' },
      { path: '/usr/bin/awk', link: 'mawk' },
      { path: '/usr/bin/which', link: 'which.debianutils' },
      { path: '/usr/bin/traceroute', link: 'traceroute.db' },
    ],
    config: { Cmd: ['bash'], Env: [path] },
  },
  {
    name: 'weft.local/nginx:1',
    summary: "Debian's nginx with its welcome page",
    root: { type: 'debian', configured: true, packages: ['nginx-light', 'curl', 'procps'] },
    config: { Cmd: ['nginx', '-g', 'daemon off;'], Env: [path], ExposedPorts: { '80/tcp': {} } },
  },
  {
    name: 'weft.local/webapp:1',
    summary: 'the example: Apache with PHP and the product page',
    root: {
      type: 'debian',
      configured: true,
      packages: [
        'apache2',
        'libapache2-mod-php',
        'php-mysql',
        'nano',
        'vim-tiny',
        'procps',
        'iproute2',
        'curl',
        'bind9-host',
      ],
      removed: ['/var/www/html/index.html'],
    },
    files: [
      { path: '/var/www/html/index.php', from: 'examples/webapp/images/webapp/index.php', mode: 0o644 },
      {
        path: '/etc/apache2/conf-enabled/weft.conf',
        text: 'ServerName localhost\nErrorLog /dev/stderr\nCustomLog /dev/stdout combined\n',
      },
      { path: '/usr/local/bin/run-apache', from: 'examples/webapp/images/webapp/run-apache', mode: 0o755 },
    ],
    config: { Cmd: ['run-apache'], Env: [path], WorkingDir: '/var/www/html', ExposedPorts: { '80/tcp': {} } },
  },
  {
    name: 'weft.local/mariadb:1',
    summary: "the example's database: Debian's MariaDB",
    root: {
      type: 'debian',
      configured: true,
      packages: ['mariadb-server', 'procps', 'iproute2'],
      removed: ['/var/lib/mysql', '/var/log/mysql'],
    },
    files: [{ path: '/usr/local/bin/run-mariadb', from: 'examples/webapp/images/mariadb/run-mariadb', mode: 0o755 }],
    config: { Cmd: ['run-mariadb'], Env: [path], ExposedPorts: { '3306/tcp': {} } },
  },
];

export function findRecipe(name: string): Recipe | undefined {
  return recipes.find((recipe) => recipe.name === name);
}
