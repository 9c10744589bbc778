// What `npm start` says: where to click, what to paste.

export interface BannerTenant {
  readonly key: string
  readonly displayName: string | undefined
  readonly guests: boolean
  readonly claims: Readonly<Record<string, string>>
  /** Signed with a sample key for `alice`; undefined where the tenant has none. */
  readonly token: string | undefined
  /** Of the server API, a sample; undefined where the tenant has none. */
  readonly apiKey: string | undefined
}

export interface BannerOptions {
  readonly host: string
  readonly port: number
  /** Undefined: the port was taken. */
  readonly opsPort: number | undefined
  readonly folder: string
  readonly tenants: readonly BannerTenant[]
  /** Whether problems of the manifests are printed after this. */
  readonly problems: boolean
}

export function banner({ folder, host, opsPort, port, problems, tenants }: BannerOptions): string {
  const at = `localhost:${port}`
  const lines = [
    `Parley is running at http://${at}/`,
    '',
    '  Open it in two windows and be two people. Stop it with Ctrl-C.',
    '',
    ...tenants.flatMap((tenant) => tenantLines(tenant, at)),
    `  tenants    from ${folder}; edit them while this runs`,
    `  operators  http://${at}/stats /metrics /metrics/tenants /readyz${opsPort === undefined ? ' (the port for operators alone is taken)' : `, also on port ${opsPort}`}`,
    '',
  ]
  if (tenants.length === 0)
    lines.push(
      `  No tenant in ${folder} can be served: ${problems ? 'see the problems below' : 'there is no ChatTenant in it'}, or use --tenants manifests/samples.`,
      '',
    )
  if (tenants.some(({ token }) => token !== undefined)) {
    lines.push(
      '  WARNING: these tenants are signed for with sample keys that everybody has. They are for this machine only.',
      '',
    )
    if (!isLoopback(host))
      lines.push(
        `  WARNING: ${host} is open to other machines, and with these keys anyone there can be anybody.`,
        '',
      )
  }
  return `${lines.join('\n')}\n`
}

function tenantLines(tenant: BannerTenant, at: string): string[] {
  const { apiKey, claims, displayName, guests, key, token } = tenant
  const page = new URLSearchParams({ tenant: key, user: 'alice', ...claims })
  const lines = [
    `  ${key}${displayName === undefined ? '' : ` (${displayName})`}`,
    `    page        http://${at}/#${page.toString()}`,
  ]
  lines.push(`    SDKs        ws://${at}/${key}/connection/websocket`)
  lines.push(`    plain JSON  ws://${at}/${key}/ws${guests ? '   (guests need no token)' : ''}`)
  if (token !== undefined) {
    const claimsFlag = Object.keys(claims).length === 0 ? '' : ` --claims '${JSON.stringify(claims)}'`
    lines.push(`    new token   npx parley token --tenant ${key} --user bob${claimsFlag}`)
    lines.push(`    terminal    npx wscat -c "ws://${at}/${key}/ws" -H "Authorization: Bearer ${token}"`)
  }
  if (apiKey !== undefined) {
    const message = JSON.stringify({ channel: 'general', data: 'hello' })
    lines.push(
      `    backend     curl http://${at}/${key}/api/publish -H "X-API-Key: ${apiKey}" --json '${message}'`,
    )
  }
  return [...lines, '']
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}
