// The text that `parley dev` prints at start: links to open and commands to paste.

export interface BannerTenant {
  readonly key: string
  readonly displayName: string | undefined
  readonly guests: boolean
  readonly claims: Readonly<Record<string, string>>
  /** A token for `alice`, signed with a sample key; undefined where the tenant has no sample key. */
  readonly token: string | undefined
  /** A sample key of the server API; undefined where the tenant has none. */
  readonly apiKey: string | undefined
}

export interface BannerOptions {
  readonly host: string
  readonly port: number
  /** Undefined when the port was in use. */
  readonly opsPort: number | undefined
  readonly folder: string
  readonly tenants: readonly BannerTenant[]
  /** True: problems of the manifests are printed after the banner. */
  readonly problems: boolean
}

export function banner({ folder, host, opsPort, port, problems, tenants }: BannerOptions): string {
  const at = `localhost:${port}`
  const lines = [
    `Parley is running at http://${at}/`,
    '',
    '  Open it in two windows to chat as two users. Stop it with Ctrl-C.',
    '',
    ...tenants.flatMap((tenant) => tenantLines(tenant, at)),
    `  tenants    from ${folder}; edits apply while this runs`,
    `  operators  http://${at}/stats /metrics /metrics/tenants /readyz${opsPort === undefined ? ' (the separate port for operators is in use)' : `, also on port ${opsPort}`}`,
    '',
  ]
  if (tenants.length === 0)
    lines.push(
      `  No tenant in ${folder} can be served: ${problems ? 'see the problems below' : 'there is no ChatTenant in it'}, or use --tenants manifests/samples.`,
      '',
    )
  if (tenants.some(({ token }) => token !== undefined)) {
    lines.push('  WARNING: these tenants use published sample keys. They are for this machine only.', '')
    if (!isLoopback(host))
      lines.push(
        `  WARNING: ${host} is reachable from other machines, where anyone can sign in as any user with these keys.`,
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
    lines.push(`    new token   npm exec --no -- parley token --tenant ${key} --user bob${claimsFlag}`)
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
