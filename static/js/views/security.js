// @ts-check
/** Quotas with what the brokers measure of them, users, and ACLs: who may do what, and how much of it. */
import { h, span } from "../dom.js";

/** What a lab has from its start or never: authorizer.class.name is read when a broker starts. */
const AUTHORIZER = {
  of: "broker (all)",
  configs:
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\nallow.everyone.if.no.acl.found=true",
};

/** @param {any} lab @param {any} view */
export function security(lab, view) {
  const known = view.security ?? { acls: [], users: [], quotas: [], usage: [], authorizer: false };
  return h("section.security", { key: "security", "aria-label": "Quotas and access" }, [
    h("div.view-bar", { key: "bar" }, [
      h("h3", { key: "h" }, "Quotas and access"),
      button(lab, "Quota…", "AlterQuota"),
      button(lab, "User…", "AlterUser"),
      button(lab, "ACL…", "CreateAcl"),
      h(
        "span.fact",
        { key: "auth", class: known.authorizer ? "tone-isr" : "" },
        known.authorizer
          ? "StandardAuthorizer: ACLs decide, and deny beats allow"
          : "no authorizer: everybody may do everything",
      ),
      known.authorizer
        ? null
        : h(
            "button.button.small",
            { key: "with", type: "button", on: { click: () => lab.fork(AUTHORIZER) } },
            "Fork with an authorizer…",
          ),
      known.users.length ? h("span.fact", { key: "users" }, `users: ${known.users.join(", ")}`) : null,
    ]),
    known.quotas.length || known.acls.length || known.users.length
      ? null
      : h(
          "p.empty",
          { key: "none" },
          "No quota, no user, no ACL yet. A quota slows a client down instead of refusing it; a user has a password, and a client logs in with sasl.username and sasl.password among its settings; ACLs say what a user may do.",
        ),
    known.quotas.length ? quotas(lab, known) : null,
    known.acls.length ? acls(lab, known.acls) : null,
  ]);
}

/** @param {any} lab @param {string} label @param {string} form */
const button = (lab, label, form) =>
  h("button.button.small", { key: form, type: "button", on: { click: () => lab.actions.open(form, {}) } }, label);

/** @param {any} quota "" is the default of its kind, null is not part of it */
export function entity(quota) {
  const parts = [];
  if (quota.user !== null) parts.push(quota.user === "" ? "any user" : `user ${quota.user}`);
  if (quota.client_id !== null) parts.push(quota.client_id === "" ? "any client" : `client ${quota.client_id}`);
  return parts.join(", ");
}

/** @param {string} name */
const unit = (name) => (name === "request_percentage" ? "%" : " B/s");

/** @param {number} rate */
const round = (rate) => (rate >= 100 ? Math.round(rate) : +rate.toFixed(1));

/** @param {any} lab @param {any} known */
function quotas(lab, known) {
  const rows = known.quotas.flatMap((/** @type {any} */ quota) =>
    Object.entries(quota.limits).map(([name, limit]) => ({ quota, name, limit })),
  );
  return h("div.scroll", { key: "quotas", tabindex: "0", role: "region", "aria-label": "Quotas" }, [
    h("table", { key: "t" }, [
      head(["Quota of", "Limit on", "Limit", "Measured by the brokers", ""]),
      h(
        "tbody",
        { key: "b" },
        rows.map((/** @type {any} */ { quota, name, limit }) =>
          h("tr", { key: `${entity(quota)} ${name}` }, [
            h("th", { key: "e", scope: "row" }, entity(quota)),
            h("td.mono", { key: "n" }, name),
            h("td.num", { key: "l" }, `${limit}${unit(name)}`),
            h("td", { key: "m" }, h("span.usages", {}, usages(known.usage, quota, name))),
            h(
              "td",
              { key: "x" },
              h(
                "button.button.small",
                {
                  type: "button",
                  "aria-label": `Remove ${name} of ${entity(quota)}`,
                  on: {
                    click: () =>
                      lab.act({ type: "AlterQuota", user: quota.user, client_id: quota.client_id, remove: [name] }),
                  },
                },
                "Remove",
              ),
            ),
          ]),
        ),
      ),
    ]),
  ]);
}

/** @param {any[]} usage @param {any} quota @param {string} name */
function usages(usage, quota, name) {
  const mine = usage.filter(
    (use) =>
      use.quota === name &&
      (quota.user === null ? use.user === "" : quota.user === "" || use.user === quota.user) &&
      (quota.client_id === null ? use.client_id === "" : quota.client_id === "" || use.client_id === quota.client_id),
  );
  if (!mine.length) return "nothing yet";
  return mine.map((use) => {
    const who = [use.user, use.client_id].filter(Boolean).join(" ");
    const throttled = use.throttle_time_ms > 0;
    return h("span.usage", { key: `${use.broker} ${who}`, class: throttled ? "tone-lagging" : "" }, [
      h("meter", {
        key: "m",
        min: 0,
        max: use.limit * 1.5,
        high: use.limit,
        value: Math.min(use.rate, use.limit * 1.5),
        "aria-label": `Broker ${use.broker}: ${round(use.rate)} of ${use.limit}`,
      }),
      `broker ${use.broker}${who ? `, ${who}` : ""}: ${round(use.rate)}${unit(name)}`,
      throttled ? `, throttled for ${span(use.throttle_time_ms * 1000)}` : "",
    ]);
  });
}

/** @param {any} lab @param {any[]} list */
function acls(lab, list) {
  return h("div.scroll", { key: "acls", tabindex: "0", role: "region", "aria-label": "ACLs" }, [
    h("table", { key: "t" }, [
      head(["Principal", "May", "Do", "On", "From", ""]),
      h(
        "tbody",
        { key: "b" },
        list.map((acl) => {
          const on = `${acl.resource_type} ${acl.resource_name}${acl.pattern_type === "prefixed" ? "…" : ""}`;
          const { principal, operation, resource_type, resource_name, pattern_type, permission, host } = acl;
          return h("tr", { key: Object.values(acl).join(" ") }, [
            h("th.mono", { key: "p", scope: "row" }, acl.principal),
            h("td", { key: "a", class: acl.permission === "deny" ? "tone-offline" : "tone-isr" }, acl.permission),
            h("td", { key: "o" }, acl.operation),
            h("td", { key: "r" }, on),
            h("td", { key: "h" }, acl.host === "*" ? "anywhere" : acl.host),
            h(
              "td",
              { key: "x" },
              h(
                "button.button.small",
                {
                  type: "button",
                  "aria-label": `Remove: ${acl.permission} ${acl.principal} to ${acl.operation} on ${on}`,
                  on: {
                    click: () =>
                      lab.act({
                        type: "DeleteAcl",
                        ...{ principal, operation, resource_type, resource_name, pattern_type, permission, host },
                      }),
                  },
                },
                "Remove",
              ),
            ),
          ]);
        }),
      ),
    ]),
  ]);
}

/** @param {string[]} names */
export const head = (names) =>
  h(
    "thead",
    { key: "h" },
    h(
      "tr",
      {},
      names.map((name, index) =>
        name ? h("th", { key: name, scope: "col" }, name) : h("td", { key: `${index}` }, ""),
      ),
    ),
  );
