//! The files that a browser loads. They are part of the program: nothing else is fetched from anywhere.

/// One of them.
pub(super) struct Asset {
    /// Where it is, as the page names it.
    pub(super) path: &'static str,
    /// Its media type.
    pub(super) kind: &'static str,
    pub(super) text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// All of them. Scripts are modules: the first one names the others.
pub(super) const ASSETS: [Asset; 9] = [
    Asset { path: "", kind: HTML, text: include_str!("assets/index.html") },
    Asset { path: "page.css", kind: STYLE, text: include_str!("assets/page.css") },
    Asset { path: "page.js", kind: SCRIPT, text: include_str!("assets/page.js") },
    Asset { path: "view.js", kind: SCRIPT, text: include_str!("assets/view.js") },
    Asset { path: "ask.js", kind: SCRIPT, text: include_str!("assets/ask.js") },
    Asset { path: "parts.js", kind: SCRIPT, text: include_str!("assets/parts.js") },
    Asset { path: "list.js", kind: SCRIPT, text: include_str!("assets/list.js") },
    Asset { path: "detail.js", kind: SCRIPT, text: include_str!("assets/detail.js") },
    Asset { path: "months.js", kind: SCRIPT, text: include_str!("assets/months.js") },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn scripts() -> impl Iterator<Item = &'static Asset> {
        ASSETS.iter().filter(|asset| asset.kind == SCRIPT)
    }

    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        for Asset { path, text, .. } in &ASSETS {
            for address in ["http://", "https://", "//cdn", "url(", "@import", "import("] {
                // The namespace of SVG is a name, and is not fetched.
                let text = text.replace("http://www.w3.org/2000/svg", "");
                assert!(!text.contains(address), "{path}: {address}");
            }
        }
        for Asset { path, text, .. } in ASSETS.iter().filter(|asset| asset.kind == HTML) {
            for inline in ["<script>", "style=", "<style", "onclick", "onload", "javascript:"] {
                assert!(!text.contains(inline), "{path}: {inline}");
            }
        }
        // What users and owners wrote must stay text.
        for Asset { path, text, .. } in scripts() {
            for writing in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", ".cssText"]
            {
                assert!(!text.contains(writing), "{path}: {writing}");
            }
        }
    }

    #[test]
    fn every_script_that_one_names_is_served() {
        for Asset { path, text, .. } in scripts() {
            for named in text.lines().filter_map(|line| line.split_once(" from \"./")) {
                let named = named.1.trim_end_matches("\";");
                assert!(ASSETS.iter().any(|asset| asset.path == named), "{path}: {named}");
            }
        }
    }

    #[test]
    fn the_token_is_kept_for_the_tab_only_and_is_put_into_no_address() {
        let keeping: Vec<&str> =
            scripts().filter(|asset| asset.text.contains("sessionStorage")).map(|asset| asset.path).collect();
        assert_eq!(keeping, ["ask.js"]);
        for Asset { path, text, .. } in scripts() {
            assert!(!text.contains("document.cookie") && !text.contains("set(\"token\""), "{path}");
            // It is taken from behind the #, and never put there.
            assert_eq!(text.matches("token=").count(), usize::from(*path == "ask.js"), "{path}");
        }
    }
}
