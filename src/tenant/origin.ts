// Which web pages may connect. Browsers tell the page's origin and cannot lie about it; everything else can, and has tokens to show.

interface Origin {
  readonly scheme: string
  readonly hostname: string
  /** Empty: the scheme's own. */
  readonly port: string
}

interface OriginPattern extends Origin {
  /** `*.` stood before the host: one or more labels, never the host itself. */
  readonly subdomains: boolean
  /** `:*` stood behind it. */
  readonly anyPort: boolean
}

/** Scheme, `*.`, host (IPv6 in brackets), port. No path, no user, nothing behind: those have no place in an origin. */
const entrySyntax =
  /^([A-Za-z][A-Za-z0-9+.-]*):\/\/(\*\.)?([^\s/:?#@\\*[\]]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}|\*))?$/

/** For the API server: RE2 reads it as JavaScript does. */
export const originEntrySource = entrySyntax.source

/**
 * May a page of `origin` (the request header) connect to `host` (the Host header)? Allowed entries are `https://app.example.com[:port]`,
 * `https://*.example.com`, any port as `:*`, or `*`. Without an Origin no browser is asking; the pages of the same host always may.
 * `null` (sandboxed pages, files) and whatever is no origin is allowed by `*` alone.
 */
export function originAllowed(
  origin: string | undefined,
  allowed: readonly string[],
  host: string | undefined,
): boolean {
  if (origin === undefined || allowed.includes('*')) return true
  const page = parseOrigin(origin)
  if (!page) return false
  if (host !== undefined && sameHost(page, host)) return true
  return allowed.some((entry) => {
    const pattern = parsePattern(entry)
    return pattern !== undefined && matchesPattern(page, pattern)
  })
}

/** Why an entry of `allowedOrigins` means nothing, as a sentence. Undefined: it is fine. */
export function originProblem(entry: string): string | undefined {
  if (entry === '*' || parsePattern(entry)) return undefined
  return `"${entry}" is no origin: write "https://app.example.com", "https://*.example.com", "http://localhost:*" or "*", without a path or a slash at the end.`
}

function matchesPattern(page: Origin, pattern: OriginPattern): boolean {
  if (page.scheme !== pattern.scheme) return false
  if (!pattern.anyPort && page.port !== pattern.port) return false
  if (!pattern.subdomains) return page.hostname === pattern.hostname
  // The dot keeps `evil-example.com` out, the length `.example.com`.
  const suffix = `.${pattern.hostname}`
  return page.hostname.endsWith(suffix) && page.hostname.length > suffix.length
}

/** Behind a proxy that ends TLS the gateway does not know its own scheme: the page's is assumed. */
function sameHost(page: Origin, host: string): boolean {
  const own = parseOrigin(`${page.scheme}//${host}`)
  return own !== undefined && own.hostname === page.hostname && own.port === page.port
}

function parseOrigin(text: string): Origin | undefined {
  const pattern = parsePattern(text)
  return pattern && !pattern.subdomains && !pattern.anyPort ? pattern : undefined
}

/** The URL parser lower-cases, writes international names in punycode and drops default ports; on both sides alike. */
function parsePattern(text: string): OriginPattern | undefined {
  const [, scheme = '', star, host = '', port = ''] = entrySyntax.exec(text) ?? []
  const anyPort = port === '*'
  const address = `${scheme}://${host}${port === '' || anyPort ? '' : `:${port}`}`
  if (host === '' || !URL.canParse(address)) return undefined
  const url = new URL(address)
  return {
    scheme: url.protocol,
    hostname: url.hostname.toLowerCase(),
    port: url.port,
    subdomains: star !== undefined,
    anyPort,
  }
}
