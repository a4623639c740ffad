//! What a subscriber asks for in its URL.
//!
//! Owns the parameters of `/v1/stream` and of lists. Promises that every
//! query is a wish or one sentence that says what is wrong with it. Never guesses: an unknown
//! parameter is an error.

use crate::adapters::stream::{Records, StreamId, SymbolFilter, WhenSlow, Wish};
use crate::engine::pipeline::Role;
use crate::net::percent::percent_decoded;

/// The parameters, each with what it does, for whoever asks in vain.
const PARAMETERS: &str = "there are `symbols`, `symbol`, `snapshot`, `envelope`, `after`, \
                          `when_slow`, `role` and `records`";

/// Those of a list.
pub(super) const LISTING_PARAMETERS: &str =
    "there are `symbols`, `after` and `limit`, once, and `symbol`, once for each";

/// Those of a list of forecasts or scores.
pub(super) const FORECAST_PARAMETERS: &str =
    "there are `symbols`, `model`, `after` and `limit`, once, and `symbol`, once for each";

/// Which symbols a page of a list has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) filter: SymbolFilter,
    /// The page begins with the first symbol behind this one, by name.
    pub(super) after: Option<String>,
    /// The most symbols on it.
    pub(super) limit: usize,
}

/// The one that may be given several times: a symbol of any characters each time, commas too.
const ONE_SYMBOL: &str = "symbol";

/// The wish in a query such as `symbols=AAPL,BRK%2EB&envelope=true&after=0f3a:17`.
pub(super) fn wish(query: &str) -> Result<Wish, String> {
    let mut wish = Wish::all();
    let mut filter = Names::default();
    let mut seen = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if seen.contains(&name) && name != ONE_SYMBOL {
            return Err(format!("{}: given twice", shown(name)));
        }
        seen.push(name);
        let value = percent_decoded(value)
            .ok_or_else(|| format!("{}: not percent-encoded UTF-8", shown(name)))?;
        match name {
            "symbols" => filter.list(&value)?,
            ONE_SYMBOL => filter.one(&value)?,
            "snapshot" => wish.snapshot = switch(name, &value)?,
            "envelope" => wish.envelope = switch(name, &value)?,
            "after" => wish.after = Some(place(&value)?),
            "when_slow" => {
                wish.when_slow = match &*value {
                    "cut" => WhenSlow::Cut,
                    "conflate" => WhenSlow::Conflate,
                    _ => return Err("when_slow: must be cut or conflate".to_owned()),
                }
            }
            "role" => {
                wish.role = match &*value {
                    "live" => Role::Live,
                    "shadow" => Role::Shadow,
                    _ => return Err("role: must be live or shadow".to_owned()),
                }
            }
            "records" => {
                wish.records = match &*value {
                    "forecasts" => Records::Forecasts,
                    "scores" => Records::Scores,
                    _ => return Err("records: must be forecasts or scores".to_owned()),
                }
            }
            _ => return Err(format!("unknown parameter; {PARAMETERS}")),
        }
    }
    if wish.records == Records::Scores && seen.contains(&"role") {
        return Err("role: scores come of all models together".to_owned());
    }
    wish.filter = filter.0;
    // Without envelopes there are no numbers to go on from and no notice of what is missing.
    if !wish.envelope && wish.after.is_some() {
        return Err("after: needs envelope=true".to_owned());
    }
    if !wish.envelope && wish.when_slow == WhenSlow::Conflate {
        return Err("when_slow: conflate needs envelope=true, which tells what was missed".into());
    }
    Ok(wish)
}

/// The only parameter of a promotion, `version=3`, which may be missing.
pub(super) fn version(query: &str) -> Result<Option<String>, String> {
    let mut version = None;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let value = parameter.strip_prefix("version=");
        let value = value.ok_or("unknown parameter; there is `version`")?;
        let value = percent_decoded(value).ok_or("version: not percent-encoded UTF-8")?;
        if version.replace(value.into_owned()).is_some() {
            return Err("version: given twice".to_owned());
        }
    }
    Ok(version)
}

/// The page in a query such as `symbols=AAPL,BRK%2EB&symbol=A%2CB&after=AAPL&limit=100`, which is
/// all it may hold. `limit` is also the most that may be asked for; `parameters` says which there
/// are.
pub(super) fn listing(query: &str, limit: usize, parameters: &str) -> Result<Listing, String> {
    let mut filter = Names::default();
    let mut listing = Listing { filter: SymbolFilter::All, after: None, limit };
    let mut seen = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let unknown = || format!("unknown parameter; {parameters}");
        let (name, value) = parameter.split_once('=').ok_or_else(unknown)?;
        if !["symbols", ONE_SYMBOL, "after", "limit"].contains(&name) {
            return Err(unknown());
        }
        if seen.contains(&name) && name != ONE_SYMBOL {
            return Err(format!("{name}: given twice"));
        }
        seen.push(name);
        let value =
            percent_decoded(value).ok_or_else(|| format!("{name}: not percent-encoded UTF-8"))?;
        match name {
            "symbols" => filter.list(&value)?,
            ONE_SYMBOL => filter.one(&value)?,
            "after" => listing.after = Some(value.into_owned()),
            _ => {
                let wanted = value.parse().ok().filter(|wanted| (1..=limit).contains(wanted));
                listing.limit = wanted
                    .ok_or_else(|| format!("limit: must be a whole number from 1 to {limit}"))?;
            }
        }
    }
    listing.filter = filter.0;
    Ok(listing)
}

/// The model in a query, and the query without it.
pub(super) fn without_model(query: &str) -> Result<(Option<String>, String), String> {
    let (mut model, mut rest) = (None, Vec::new());
    for parameter in query.split('&') {
        let Some(value) = parameter.strip_prefix("model=") else {
            rest.push(parameter);
            continue;
        };
        let value = percent_decoded(value).ok_or("model: not percent-encoded UTF-8")?;
        if model.replace(value.into_owned()).is_some() {
            return Err("model: given twice".to_owned());
        }
    }
    Ok((model, rest.join("&")))
}

/// The model in a query such as `model=vol`, which is all it may hold.
pub(super) fn model(query: &str) -> Result<Option<String>, String> {
    let (model, rest) = without_model(query)?;
    if rest.split('&').any(|parameter| !parameter.is_empty()) {
        return Err("unknown parameter; there is `model`".to_owned());
    }
    Ok(model)
}

/// The symbols that were asked for so far.
struct Names(SymbolFilter);

impl Default for Names {
    fn default() -> Self {
        Self(SymbolFilter::All)
    }
}

impl Names {
    /// Adds a list, which is separated by commas, also by encoded ones: many clients encode them.
    fn list(&mut self, text: &str) -> Result<(), String> {
        let list = SymbolFilter::parse(text).map_err(|error| error.to_string())?;
        let SymbolFilter::Only(symbols) = list else { return Ok(()) };
        symbols.iter().try_for_each(|symbol| self.one(symbol.as_str()))
    }

    /// Adds one symbol.
    fn one(&mut self, text: &str) -> Result<(), String> {
        self.0.add(text).map_err(|error| error.to_string())
    }
}

/// A parameter's name, where it is one of ours.
fn shown(name: &str) -> &str {
    let known =
        ["symbols", ONE_SYMBOL, "snapshot", "envelope", "after", "when_slow", "role", "records"];
    known.into_iter().find(|known| *known == name).unwrap_or("a parameter")
}

fn switch(name: &str, value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| format!("{name}: must be true or false"))
}

/// `STREAM:SEQ`, as the stream's own messages have them.
fn place(value: &str) -> Result<(StreamId, u64), String> {
    let place = value
        .split_once(':')
        .and_then(|(stream, seq)| Some((stream.parse().ok()?, seq.parse().ok()?)));
    place.ok_or_else(|| "after: must be STREAM:SEQ, as in the welcome".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_symbols_and_a_page() {
        let page = |filter, after: Option<&str>, limit| {
            Ok(Listing { filter, after: after.map(str::to_owned), limit })
        };
        let only = |text| page(SymbolFilter::parse(text).unwrap(), None, 10);
        let symbols = |query| listing(query, 10, LISTING_PARAMETERS);
        for query in ["", "&", "symbols="] {
            assert_eq!(symbols(query), page(SymbolFilter::All, None, 10), "{query}");
        }
        assert_eq!(symbols("&symbols=BRK%2eB%2CIBM"), only("IBM,BRK.B"));
        assert_eq!(symbols("symbols=IBM&symbol=BRK.B&symbol=IBM"), only("IBM,BRK.B"));
        assert_eq!(symbols("after=A%26B&limit=1"), page(SymbolFilter::All, Some("A&B"), 1));
        assert_eq!(symbols("limit=10&after="), page(SymbolFilter::All, Some(""), 10));
        let Ok(Listing { filter: SymbolFilter::Only(found), .. }) =
            symbols("symbol=A,B&symbol=%2C&symbols=C%2CD")
        else {
            panic!("symbols")
        };
        let mut found: Vec<_> = found.iter().map(ToString::to_string).collect();
        found.sort();
        assert_eq!(found, [",", "A,B", "C", "D"]);
        for (query, problem) in [
            ("symbol=", "symbols: a symbol has"),
            ("symbol", "unknown parameter; there are"),
            ("x=A", "unknown parameter; there are"),
            ("symbols", "unknown parameter; there are"),
            ("symbols=A&symbols=B", "symbols: given twice"),
            ("symbols=%zz", "symbols: not percent-encoded"),
            ("symbols=A,,B", "symbols: "),
            ("after=%", "after: not percent-encoded"),
            ("after=A&after=B", "after: given twice"),
            ("limit=0", "limit: must be a whole number from 1 to 10"),
            ("limit=11", "limit: must be"),
            ("limit=-1", "limit: must be"),
            ("limit=", "limit: must be"),
            ("limit=99999999999999999999", "limit: must be"),
        ] {
            let found = symbols(query).unwrap_err();
            assert!(found.starts_with(problem), "{query}: {found}");
        }
    }

    #[test]
    fn reads_the_symbols_of_a_query() {
        let only = |text| Wish { filter: SymbolFilter::parse(text).unwrap(), ..Wish::all() };
        assert_eq!(wish(""), Ok(Wish::all()));
        assert_eq!(wish("symbols="), Ok(Wish::all()));
        assert_eq!(wish("symbols=AAPL,MSFT"), Ok(only("MSFT,AAPL")));
        assert_eq!(wish("symbol=AAPL&symbols=&symbol=MSFT"), Ok(only("MSFT,AAPL")));
        assert_eq!(wish("&symbols=BRK%2eB%2CZ%C3%BCrich+&"), Ok(only("BRK.B,Zürich+")));
    }

    #[test]
    fn reads_every_parameter() {
        let query = "symbols=A&snapshot=true&envelope=true&after=00ff:17&when_slow=conflate";
        let expected = Wish {
            filter: SymbolFilter::parse("A").unwrap(),
            snapshot: true,
            envelope: true,
            after: Some((StreamId(255), 17)),
            when_slow: WhenSlow::Conflate,
            role: Role::Live,
            records: Records::Forecasts,
        };
        assert_eq!(wish(query), Ok(expected));
        assert_eq!(wish("records=forecasts"), Ok(Wish::all()));
        assert_eq!(wish("records=scores"), Ok(Wish { records: Records::Scores, ..Wish::all() }));
        assert_eq!(wish("role=shadow"), Ok(Wish { role: Role::Shadow, ..Wish::all() }));
        assert_eq!(wish("role=live"), Ok(Wish::all()));
    }

    #[test]
    fn a_model_is_taken_out_of_a_query() {
        let found =
            |query| without_model(query).map(|(model, rest)| (model.unwrap_or_default(), rest));
        assert_eq!(
            found("symbols=A&model=a%2Eb&limit=3"),
            Ok(("a.b".into(), "symbols=A&limit=3".into()))
        );
        assert_eq!(found(""), Ok((String::new(), String::new())));
        assert_eq!(found("model=a&model=b"), Err("model: given twice".to_owned()));
        assert_eq!(found("model=%4"), Err("model: not percent-encoded UTF-8".to_owned()));
        assert_eq!((model("model=a"), model("")), (Ok(Some("a".to_owned())), Ok(None)));
        assert_eq!(model("models=a"), Err("unknown parameter; there is `model`".to_owned()));
    }

    #[test]
    fn says_what_is_wrong() {
        for (query, problem) in [
            ("sybmol=AAPL", "unknown parameter; there are"),
            ("symbol=", "symbols: a symbol has 1 to 256 bytes"),
            ("symbol=%4", "symbol: not percent-encoded"),
            ("x", "unknown parameter"),
            ("symbols=A&symbols=B", "symbols: given twice"),
            ("symbols=A%", "symbols: not percent-encoded"),
            ("symbols=A%4", "symbols: not percent-encoded"),
            ("symbols=%+1", "symbols: not percent-encoded"),
            ("symbols=%zz", "symbols: not percent-encoded"),
            ("symbols=%ff", "symbols: not percent-encoded"),
            ("symbols=A,,B", "symbols: "),
            ("snapshot=yes", "snapshot: must be true or false"),
            ("envelope", "envelope: must be true or false"),
            ("envelope=true&after=7", "after: must be STREAM:SEQ"),
            ("envelope=true&after=x:7", "after: must be STREAM:SEQ"),
            ("envelope=true&after=7:-1", "after: must be STREAM:SEQ"),
            ("after=7:1", "after: needs envelope"),
            ("when_slow=conflate", "when_slow: conflate needs envelope"),
            ("when_slow=wait", "when_slow: must be cut or conflate"),
            ("records=all", "records: must be forecasts or scores"),
            ("records=scores&role=live", "role: scores come of all models together"),
            ("%3Cb%3E=1", "unknown parameter"),
        ] {
            let found = wish(query).unwrap_err();
            assert!(found.starts_with(problem), "{query}: {found}");
        }
    }

    #[test]
    fn a_promotion_takes_a_version_and_nothing_else() {
        assert_eq!(version(""), Ok(None));
        assert_eq!(version("version=1.2%2Bb"), Ok(Some("1.2+b".to_owned())));
        for (query, problem) in [
            ("versions=1", "unknown parameter; there is `version`"),
            ("version=1&version=2", "version: given twice"),
            ("version=%ff", "version: not percent-encoded UTF-8"),
        ] {
            assert_eq!(version(query), Err(problem.to_owned()));
        }
    }
}
