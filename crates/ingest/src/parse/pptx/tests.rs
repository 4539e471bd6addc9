//! Small presentations built in memory.

use super::*;
use crate::parse::archive::packed;

fn rels(entries: &[(&str, &str, &str)]) -> String {
    let entry = |(id, kind, target): &(&str, &str, &str)| {
        let mode = if target.contains(':') { " TargetMode='External'" } else { "" };
        format!("<Relationship Id='{id}' Type='http://x/{kind}' Target='{target}'{mode}/>")
    };
    format!("<Relationships>{}</Relationships>", entries.iter().map(entry).collect::<String>())
}

/// A presentation of these slides (body of the shape tree, relationships) and other parts.
fn deck(slides: &[(&str, &str)], more: &[(&str, &str)]) -> Vec<u8> {
    let numbers = || 1..=slides.len();
    // shown in the order of the list, whatever the names and ids say
    let ids: String = numbers().map(|n| format!("<p:sldId id='{}' r:id='r{n}'/>", 900 - n)).collect();
    let targets: Vec<String> = numbers().map(|n| format!("slides/slide{}.xml", 9 - n)).collect();
    let names: Vec<String> = numbers().map(|n| format!("r{n}")).collect();
    let entries: Vec<_> = names.iter().zip(&targets).map(|(id, target)| (id.as_str(), "slide", target.as_str())).collect();
    let mut parts = vec![
        (MAIN_PART.to_owned(), format!("<p:presentation xmlns:p='p' xmlns:r='r'><p:sldIdLst>{ids}</p:sldIdLst></p:presentation>")),
        ("ppt/_rels/presentation.xml.rels".to_owned(), rels(&entries)),
    ];
    for (target, (shapes, relationships)) in targets.iter().zip(slides) {
        parts.push((
            format!("ppt/{target}"),
            format!("<p:sld xmlns:p='p' xmlns:a='a' xmlns:r='r' xmlns:c='c' xmlns:mc='m'><p:spTree>{shapes}</p:spTree></p:sld>"),
        ));
        parts.push((format!("ppt/slides/_rels/{}.rels", target.trim_start_matches("slides/")), (*relationships).to_owned()));
    }
    parts.extend(more.iter().map(|(name, xml)| ((*name).to_owned(), (*xml).to_owned())));
    packed(&parts.iter().map(|(name, xml)| (name.as_str(), xml.as_str())).collect::<Vec<_>>())
}

fn text_of(shapes: &str, relationships: &str, more: &[(&str, &str)]) -> String {
    parse(&deck(&[(shapes, relationships)], more)).unwrap().text
}

fn p(text: &str) -> String {
    format!("<a:p><a:r><a:t>{text}</a:t></a:r></a:p>")
}

fn sp(placeholder: &str, place: Option<(i64, i64)>, body: &str) -> String {
    let place = place.map(|(x, y)| format!("<a:xfrm><a:off x='{x}' y='{y}'/></a:xfrm>")).unwrap_or_default();
    format!("<p:sp><p:nvSpPr><p:cNvPr id='2' name='n'/>{placeholder}</p:nvSpPr><p:spPr>{place}</p:spPr><p:txBody>{body}</p:txBody></p:sp>")
}

#[test]
fn slides_are_pages_in_the_order_shown() {
    let title = |text: &str| sp("<p:ph type='title'/>", None, &p(text));
    let number = sp("<p:ph type='sldNum'/>", None, &p("77"));
    let document = parse(&deck(
        &[(&title("First"), ""), (&number, ""), (&[title("Third"), number.clone()].concat(), "")],
        &[("docProps/core.xml", "<c:x xmlns:c='c' xmlns:dc='d'><dc:title>The deck</dc:title></c:x>")],
    ))
    .unwrap();
    assert_eq!(document.text, "# First\n\n# Third");
    assert_eq!(document.pages.iter().map(|page| (page.byte_start, page.number)).collect::<Vec<_>>(), [(0, 1), (9, 3)]);
    assert_eq!((document.page_count, document.title.as_deref()), (Some(3), Some("The deck")));
}

#[test]
fn shapes_follow_each_other_as_they_are_read() {
    let text = |place, words: &str| sp("", place, &p(words));
    let group =
        format!("<p:grpSp><a:xfrm><a:off x='0' y='50'/></a:xfrm>{}{}</p:grpSp>", text(Some((9, 9)), "in2"), text(Some((0, 9)), "in1"));
    let body = sp("<p:ph idx='1'/>", None, &p("placed by the layout"));
    let shapes = [text(Some((0, 90)), "low"), group, text(Some((8, 10)), "right"), text(Some((2, 10)), "left"), body].concat();
    let layout = format!("<p:sldLayout xmlns:p='p' xmlns:a='a'>{}</p:sldLayout>", sp("<p:ph idx='1'/>", Some((0, 20)), ""));
    let relationships = rels(&[("r1", "slideLayout", "../slideLayouts/l.xml")]);
    let read = text_of(&shapes, &relationships, &[("ppt/slideLayouts/l.xml", &layout)]);
    assert_eq!(read, "left\n\nright\n\n- placed by the layout\n\nin1\n\nin2\n\nlow");
}

#[test]
fn outlines_are_lists_and_links_are_kept() {
    let line = |properties: &str, text: &str| format!("<a:p><a:pPr {properties}</a:pPr><a:r><a:t>{text}</a:t></a:r></a:p>");
    let body = [
        line(">", "top"),
        line("lvl='1'>", "sub"),
        line("><a:buNone/>", "plain"),
        line("><a:buAutoNum type='x'/>", "one"),
        line("><a:buAutoNum type='x'/>", "two"),
        "<a:p><a:r><a:rPr><a:hlinkClick r:id='r7'/></a:rPr><a:t>there</a:t></a:r><a:br/></a:p>".to_owned(),
    ]
    .concat();
    let relationships = rels(&[("r7", "hyperlink", "https://example.org/")]);
    let read = text_of(&sp("<p:ph type='body' idx='1'/>", None, &body), &relationships, &[]);
    assert_eq!(read, "- top\n   - sub\n\nplain\n\n1. one\n2. two\n- [there](https://example.org/)");
}

#[test]
fn tables_pictures_charts_and_notes() {
    let cell = |text: &str| format!("<a:tc><a:txBody>{}{}</a:txBody></a:tc>", p(text), p(""));
    let table =
        format!("<p:graphicFrame><a:tbl><a:tr>{}{}</a:tr><a:tr>{}</a:tr></a:tbl></p:graphicFrame>", cell("h"), cell("k"), cell("v"));
    let picture = "<p:pic><p:nvPicPr><p:cNvPr name='Picture 4' descr='A red\nbuoy'/></p:nvPicPr></p:pic><p:pic><p:nvPicPr><p:cNvPr name='x'/></p:nvPicPr></p:pic>";
    let chart = "<p:graphicFrame><c:chart r:id='r2'/></p:graphicFrame>";
    let twice = format!(
        "<mc:AlternateContent><mc:Choice>{}</mc:Choice><mc:Fallback>{}</mc:Fallback></mc:AlternateContent>",
        sp("", None, &p("once")),
        sp("", None, &p("twice"))
    );
    let points =
        |values: &[&str]| values.iter().enumerate().map(|(i, v)| format!("<c:pt idx='{i}'><c:v>{v}</c:v></c:pt>")).collect::<String>();
    let series = |name: &str, values: &[&str]| {
        format!(
            "<c:ser><c:tx>{}</c:tx><c:cat>{}</c:cat><c:val>{}</c:val></c:ser>",
            points(&[name]),
            points(&["2000", "2001"]),
            points(values)
        )
    };
    let data = format!(
        "<c:chartSpace xmlns:c='c' xmlns:a='a'><c:chart><c:title>{}</c:title><c:plotArea><c:bar>{}{}</c:bar><c:catAx><c:title>{}</c:title></c:catAx></c:plotArea></c:chart></c:chartSpace>",
        p("Wrecks"),
        series("north", &["1", "2"]),
        series("south", &["3"]),
        p("year")
    );
    let notes = format!(
        "<p:notes xmlns:p='p' xmlns:a='a'>{}{}</p:notes>",
        sp("<p:ph type='body' idx='1'/>", None, &p("say this")),
        sp("<p:ph type='sldNum'/>", None, &p("4"))
    );
    let read = text_of(
        &[&table, picture, chart, &twice].concat(),
        &rels(&[("r2", "chart", "../charts/c.xml"), ("r3", "notesSlide", "/ppt/notes/n.xml")]),
        &[("ppt/charts/c.xml", &data), ("ppt/notes/n.xml", &notes)],
    );
    let expected = "| h | k |\n| --- | --- |\n| v |  |\n\n![A red buoy](Picture4.jpg)\n\nChart: Wrecks\n\n\
        | Category | north | south |\n| --- | --- | --- |\n| 2000 | 1 | 3 |\n| 2001 | 2 |  |\n\nonce\n\n## Notes\n\nsay this";
    assert_eq!(read, expected);
}

#[test]
fn diagrams_give_their_words() {
    let data = format!(
        "<d:dataModel xmlns:d='d' xmlns:a='a'><d:pt><d:t>{}</d:t></d:pt><d:pt><d:t>{}</d:t></d:pt></d:dataModel>",
        p("plan"),
        p("do")
    );
    let shapes = "<p:graphicFrame><d:relIds xmlns:d='d' r:dm='r1'/></p:graphicFrame>";
    assert_eq!(text_of(shapes, &rels(&[("r1", "diagramData", "../d.xml")]), &[("ppt/d.xml", &data)]), "- plan\n- do");
}

#[test]
fn nesting_and_missing_parts_do_no_harm() {
    let deep = format!("{}{}{}", "<p:grpSp>".repeat(50_000), sp("", None, &p("core")), "</p:grpSp>".repeat(50_000));
    assert_eq!(text_of(&deep, &rels(&[("r1", "slideLayout", "../gone.xml"), ("r2", "notesSlide", "../gone.xml")]), &[]), "core");
    assert!(matches!(parse(&packed(&[("ppt/other.xml", "")])), Err(ParseError::Corrupt { reason }) if reason.contains(MAIN_PART)));
}
